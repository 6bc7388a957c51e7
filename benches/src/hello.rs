//! A bare hyper server that says hello: what every other server is measured against.
//!
//! Owns the floor of an HTTP answer on this machine: one current-thread runtime, hyper 1, no
//! routing, a constant body. Absent: everything a caller would want.

use std::convert::Infallible;
use std::future;
use std::io::{self, Write};
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// Serves until the process is ended, or until its standard input closes: a bench that dies must
/// leave no server behind.
pub fn serve(listen: SocketAddr) -> io::Result<()> {
    std::thread::spawn(|| {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        std::process::exit(0);
    });
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(accept(listen))
}

async fn accept(listen: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    writeln!(io::stdout(), "listening on http://{}", listener.local_addr()?)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let connection =
                http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(hello));
            // A client that goes away is the end of its connection and nothing more.
            let _ = connection.await;
        });
    }
}

fn hello(_request: Request<Incoming>) -> future::Ready<Result<Response<Full<Bytes>>, Infallible>> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"hello")));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    future::ready(Ok(response))
}
