//! `wasi:http` without a network: a request becomes the same host call as `alga:extension/http`.

use crate::abi::{AbOp, AbVia, HostError};
use crate::call::{CallFuture, Completion, HostRequest, HostValue, HttpAnswer, HttpCall};
use crate::guest::Shared;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::oneshot;
use wasmtime_wasi_http::{Error, RequestOptions, Result, WasiBody, WasiHttpHooks};

/// A request that is complete and waits for the strand of its execution.
pub(crate) struct QueuedFetch {
    pub request: HostRequest,
    pub reply: oneshot::Sender<CallFuture>,
    /// Counted until the host call has the body and the host counts it.
    pub share: Share,
}

/// What one body takes of the bytes that an execution may have under way before its host calls.
pub(crate) struct Share {
    shared: Arc<Shared>,
    bytes: usize,
}

impl Share {
    fn new(shared: Arc<Shared>) -> Share {
        Share { shared, bytes: 0 }
    }

    /// False when that is more than `limit` for all bodies together.
    fn grow(&mut self, more: usize, limit: usize) -> bool {
        self.bytes += more;
        self.shared.assembling.fetch_add(more, Ordering::Relaxed) + more <= limit
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shared.assembling.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

pub(crate) struct HttpHooks {
    pub shared: Arc<Shared>,
    /// Bytes of bodies that a guest may be sending at once, in however many requests.
    pub body_limit: usize,
}

type Io = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Answer = Result<(http::Response<WasiBody>, Io)>;

impl WasiHttpHooks for HttpHooks {
    fn set_host_header(&mut self) -> bool {
        false // the host derives it from the URL that it dials
    }

    /// Timeouts of the guest are not passed on: the limits of the host are the shorter ones.
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        _options: Option<RequestOptions>,
        _fut: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Answer> + Send> {
        let (shared, limit) = (self.shared.clone(), self.body_limit);
        Box::new(async move {
            let mut share = Share::new(shared.clone());
            let request = assemble(request, &mut share, limit).await?;
            let (reply, receiver) = oneshot::channel();
            shared.queue_fetch(QueuedFetch { request, reply, share });
            let Ok(call) = receiver.await else {
                return Err(Error::HttpRequestDenied); // refused: the execution ends
            };
            match call.await {
                Completion::Value(HostValue::Http(answer)) => response(answer),
                Completion::Value(_) => Err(Error::InternalError(None)),
                Completion::Error(error) => Err(translate(error)),
                Completion::Abort(reason) => {
                    shared.request_abort(reason);
                    std::future::pending().await
                }
            }
        })
    }
}

/// Reads the body, which the guest may still be writing, up to the limit.
async fn assemble(
    request: http::Request<WasiBody>,
    share: &mut Share,
    limit: usize,
) -> Result<HostRequest> {
    let (parts, mut body) = request.into_parts();
    let mut collected = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else {
            continue; // trailers have no place in the contract
        };
        if !share.grow(data.len(), limit) {
            return Err(Error::HttpRequestBodySize(Some(limit as u64)));
        }
        collected.extend_from_slice(&data);
    }
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers =
        parts.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
    let mut call = HostRequest::new(AbOp::HttpFetch, AbVia::Wasi);
    call.http = Some(HttpCall {
        method: parts.method.as_str().to_owned(),
        url: parts.uri.to_string(),
        headers,
        body: (!collected.is_empty()).then(|| collected.freeze()),
    });
    Ok(call)
}

fn response(answer: HttpAnswer) -> Answer {
    let mut response = http::Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        let name = http::HeaderName::from_bytes(name.as_bytes());
        let value = http::HeaderValue::from_bytes(value.as_bytes());
        if let (Ok(name), Ok(value)) = (name, value) {
            response = response.header(name, value);
        }
    }
    let body: Full<Bytes> = Full::new(answer.body);
    let response = response
        .body(body.map_err(Error::from).boxed_unsync())
        .map_err(|_| Error::HttpProtocolError)?;
    Ok((response, Box::new(async { Ok(()) })))
}

fn translate(error: HostError) -> Error {
    match error {
        HostError::Invalid => Error::HttpRequestUriInvalid,
        HostError::Denied => Error::HttpRequestDenied,
        HostError::Transport => Error::ConnectionTerminated,
        HostError::Timeout => Error::ConnectionTimeout,
        HostError::TooLarge => Error::HttpResponseBodySize(None),
        HostError::Limit | HostError::Quota => Error::ConnectionLimitReached,
        _ => Error::InternalError(None),
    }
}
