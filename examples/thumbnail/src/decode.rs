//! Bytes of a file to pixels.

use std::io::Cursor;

use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use crate::Picture;

/// Longer side of a picture that is read. 8192 x 8192 is what larger cameras make.
const SIDE_MAX: usize = 8192;

/// The picture, or why it cannot be read.
pub(crate) fn picture(file: &[u8]) -> Result<Picture, String> {
    match file {
        [0xff, 0xd8, 0xff, ..] => jpeg(file),
        [0x89, b'P', b'N', b'G', ..] => png(file),
        _ => Err("neither a JPEG nor a PNG".to_owned()),
    }
}

fn jpeg(file: &[u8]) -> Result<Picture, String> {
    let options = DecoderOptions::default()
        .set_max_width(SIDE_MAX)
        .set_max_height(SIDE_MAX)
        .jpeg_set_out_colorspace(ColorSpace::RGBA);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(file), options);
    let rgba = decoder.decode().map_err(|error| error.to_string())?;
    let (width, height) = decoder.dimensions().ok_or("a JPEG without a size")?;
    Ok(Picture { width, height, rgba })
}

fn png(file: &[u8]) -> Result<Picture, String> {
    let mut decoder = png::Decoder::new(Cursor::new(file));
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(|error| error.to_string())?;
    let (width, height) = (reader.info().width as usize, reader.info().height as usize);
    if width.max(height) > SIDE_MAX {
        return Err(format!("{width}x{height}: more than {SIDE_MAX} pixels a side"));
    }
    let mut bytes = vec![0; reader.output_buffer_size().ok_or("a PNG of impossible size")?];
    let frame = reader.next_frame(&mut bytes).map_err(|error| error.to_string())?;
    bytes.truncate(frame.buffer_size());
    let rgba = match frame.color_type {
        png::ColorType::Rgba => bytes,
        png::ColorType::Rgb => spread(&bytes, |[r, g, b]| [r, g, b, 255]),
        png::ColorType::Grayscale => spread(&bytes, |[v]| [v, v, v, 255]),
        png::ColorType::GrayscaleAlpha => spread(&bytes, |[v, a]| [v, v, v, a]),
        png::ColorType::Indexed => return Err("a palette that was not expanded".to_owned()),
    };
    Ok(Picture { width, height, rgba })
}

fn spread<const N: usize>(bytes: &[u8], pixel: impl Fn([u8; N]) -> [u8; 4]) -> Vec<u8> {
    bytes.as_chunks::<N>().0.iter().flat_map(|chunk| pixel(*chunk)).collect()
}
