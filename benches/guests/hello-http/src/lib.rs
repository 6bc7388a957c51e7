//! The same answer as a `wasi:http` component, for `wasmtime serve`.
//!
//! Owns one answer with its content type. Absent: the input.

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

struct Hello;

impl Guest for Hello {
    fn handle(_request: IncomingRequest, out: ResponseOutparam) {
        let headers = Fields::new();
        headers
            .set("content-type", &[b"text/plain".to_vec()])
            .expect("a content type is a header a guest may set");
        let response = OutgoingResponse::new(headers);
        let body = response.body().expect("the body is taken once");
        ResponseOutparam::set(out, Ok(response));
        let stream = body.write().expect("the stream is taken once");
        stream.blocking_write_and_flush(b"hello").expect("five bytes fit");
        drop(stream);
        OutgoingBody::finish(body, None).expect("nothing is written any more");
    }
}

wasip2::http::proxy::export!(Hello);
