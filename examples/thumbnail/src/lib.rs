//! Shrinks a JPEG or PNG to a PNG that fits into a square.
//!
//! `POST` the picture; `?size=` is the longer side in pixels, 16 to 512, 160 if not given. What
//! cannot be read as a picture is a 422 with the reason.

mod decode;
mod shrink;

use talea::{Request, Response};

/// Longer side of the thumbnail when the caller names none.
const SIZE_DEFAULT: usize = 160;

/// Pixels in rows from the top, four bytes each: red, green, blue, opacity.
#[derive(Debug)]
struct Picture {
    width: usize,
    height: usize,
    rgba: Vec<u8>,
}

#[talea::handler]
pub fn thumbnail(request: Request) -> Result<Response, png::EncodingError> {
    let size = match request.query_value("size").map(|text| text.parse()) {
        None => SIZE_DEFAULT,
        Some(Ok(size @ 16..=512)) => size,
        Some(_) => return Ok(refusal(400, "size is a number from 16 to 512")),
    };
    let picture = match decode::picture(request.body()) {
        Ok(picture) => picture,
        Err(reason) => return Ok(refusal(422, &reason)),
    };
    let small = shrink::fit(&picture, size);
    talea::info!("{}x{} -> {}x{}", picture.width, picture.height, small.width, small.height);
    Ok(Response::bytes("image/png", encode(&small)?))
}

fn encode(picture: &Picture) -> Result<Vec<u8>, png::EncodingError> {
    // At most 512 pixels a side: the casts keep every value.
    let (width, height) = (picture.width as u32, picture.height as u32);
    let opaque = picture.rgba.chunks_exact(4).all(|pixel| pixel[3] == 255);
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_color(if opaque { png::ColorType::Rgb } else { png::ColorType::Rgba });
    let mut writer = encoder.write_header()?;
    if opaque {
        let rgb: Vec<u8> =
            picture.rgba.chunks_exact(4).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect();
        writer.write_image_data(&rgb)?;
    } else {
        writer.write_image_data(&picture.rgba)?;
    }
    writer.finish()?;
    Ok(bytes)
}

fn refusal(status: u16, reason: &str) -> Response {
    Response::text(format!("{reason}\n")).with_status(status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use talea::testing::call;

    const JPEG: &[u8] = include_bytes!("../input/harbour.jpg");
    const PNG: &[u8] = include_bytes!("../input/harbour.png");

    fn shrunk(body: &[u8]) -> Picture {
        let answer = call(thumbnail, Request::post("/?size=64").with_body(body));
        assert_eq!(answer.header("content-type"), Some("image/png"), "{}", answer.log);
        decode::picture(&answer.body).expect("a PNG")
    }

    #[test]
    fn both_formats_give_the_same_small_picture() {
        let (a, b) = (shrunk(JPEG), shrunk(PNG));
        assert_eq!((a.width, a.height), (64, 43));
        assert_eq!((b.width, b.height), (64, 43));
        let distance: u64 =
            a.rgba.iter().zip(&b.rgba).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        // One file is quantised to 64 colours, the other lossy: some steps of 256 apart.
        assert!(distance / (a.rgba.len() as u64) < 8, "{distance}");
    }

    #[test]
    fn refuses_what_is_no_picture() {
        let answer = call(thumbnail, Request::post("/").with_body("hello"));
        assert_eq!((answer.exit, answer.status), (0, 422));
        let answer = call(thumbnail, Request::post("/").with_body(&PNG[..PNG.len() / 2]));
        assert_eq!((answer.exit, answer.status), (0, 422));
        let answer = call(thumbnail, Request::post("/?size=9000").with_body(PNG));
        assert_eq!(answer.status, 400);
    }
}
