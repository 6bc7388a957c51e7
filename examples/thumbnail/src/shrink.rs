//! Pixels to fewer pixels.

use crate::Picture;

/// The picture with its longer side at most `size`, never enlarged: each new pixel is the mean of
/// the rectangle it covers, colours weighted by opacity.
pub(crate) fn fit(picture: &Picture, size: usize) -> Picture {
    let longer = picture.width.max(picture.height);
    if longer <= size {
        return Picture { rgba: picture.rgba.clone(), ..*picture };
    }
    let scaled = |side: usize| ((side * size + longer / 2) / longer).max(1);
    let (width, height) = (scaled(picture.width), scaled(picture.height));
    let mut rgba = Vec::with_capacity(width * height * 4);
    for y in 0..height {
        let rows = covered(y, height, picture.height);
        for x in 0..width {
            rgba.extend(mean(picture, covered(x, width, picture.width), rows.clone()));
        }
    }
    Picture { width, height, rgba }
}

/// Which of `from` old places the new place `index` of `to` covers.
fn covered(index: usize, to: usize, from: usize) -> std::ops::Range<usize> {
    let start = index * from / to;
    start..((index + 1) * from / to).max(start + 1)
}

fn mean(
    picture: &Picture,
    columns: std::ops::Range<usize>,
    rows: std::ops::Range<usize>,
) -> [u8; 4] {
    let (mut sums, mut weight, mut pixels) = ([0_u64; 3], 0_u64, 0_u64);
    for row in rows {
        let start = row * picture.width;
        let line = &picture.rgba[(start + columns.start) * 4..(start + columns.end) * 4];
        for pixel in line.as_chunks::<4>().0 {
            let opacity = u64::from(pixel[3]);
            for (sum, value) in sums.iter_mut().zip(pixel) {
                *sum += u64::from(*value) * opacity;
            }
            weight += opacity;
            pixels += 1;
        }
    }
    // Each quotient is a mean of bytes, so the casts keep it.
    let colour = |sum: u64| (sum + weight / 2).checked_div(weight).unwrap_or(0) as u8;
    let [r, g, b] = sums.map(colour);
    [r, g, b, ((weight + pixels / 2) / pixels.max(1)) as u8]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_of_rectangles() {
        let picture = Picture {
            width: 4,
            height: 1,
            rgba: [[10, 0, 0, 255], [30, 0, 0, 255], [200, 9, 9, 0], [100, 9, 9, 255]].concat(),
        };
        let small = fit(&picture, 2);
        assert_eq!((small.width, small.height), (2, 1));
        // The transparent pixel gives opacity, not colour.
        assert_eq!(small.rgba, [[20, 0, 0, 255], [100, 9, 9, 128]].concat());
        assert_eq!(fit(&picture, 9).rgba, picture.rgba);
    }
}
