//! `wasi:http` without a network: a request becomes the same host call as `alga:extension/http`.
//! What a guest writes into bodies counts from the write until a host call has it.

use crate::abi::{AbOp, AbVia, HostError};
use crate::call::{CallFuture, Completion, HostRequest, HostValue, HttpAnswer, HttpCall};
use crate::guest::Shared;
use crate::limits::Stop;
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::oneshot;
use wasmtime_wasi::p2::{DynOutputStream, OutputStream, Pollable, StreamError, StreamResult};
use wasmtime_wasi_http::{Error, RequestOptions, Result, WasiBody, WasiHttpHooks};

/// A request that is complete and waits for the strand of its execution.
pub(crate) struct QueuedFetch {
    pub request: HostRequest,
    pub reply: oneshot::Sender<CallFuture>,
    /// Counted until the host call has the body and the host counts it.
    pub share: Share,
}

/// What some bytes take of those that an execution may have under way before its host calls.
pub(crate) struct Share {
    shared: Arc<Shared>,
    bytes: usize,
}

impl Share {
    fn none(shared: &Arc<Shared>) -> Share {
        Share { shared: shared.clone(), bytes: 0 }
    }

    /// Refused when all bodies together would have more than `limit`.
    fn of(shared: &Arc<Shared>, bytes: usize, limit: usize) -> std::result::Result<Share, Stop> {
        let mut share = Share::none(shared);
        let before = share.add(bytes);
        let wanted = before.saturating_add(bytes);
        if wanted > limit {
            return Err(Stop::HostBytes { wanted: wanted as u64, limit: limit as u64 });
        }
        Ok(share)
    }

    fn add(&mut self, bytes: usize) -> usize {
        self.bytes += bytes;
        self.shared.unsent.fetch_add(bytes, Ordering::Relaxed)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shared.unsent.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Bytes and the share that they take, wherever they wait and whoever lets go of them.
struct Counted {
    bytes: Bytes,
    _share: Share,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The stream into the body of a request, or of a response that nobody will ever send. Wasmtime lets
/// each hold two megabytes, and there may be as many as there are handles.
pub(crate) struct BodyStream {
    pub inner: DynOutputStream,
    pub shared: Arc<Shared>,
    pub limit: usize,
}

#[async_trait]
impl Pollable for BodyStream {
    async fn ready(&mut self) {
        self.inner.ready().await;
    }
}

#[async_trait]
impl OutputStream for BodyStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let share = Share::of(&self.shared, bytes.len(), self.limit)
            .map_err(|stop| StreamError::Trap(stop.into()))?;
        self.inner.write(Bytes::from_owner(Counted { bytes, _share: share }))
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.inner.flush()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.inner.check_write()
    }

    async fn cancel(&mut self) {
        self.inner.cancel().await;
    }
}

pub(crate) struct HttpHooks {
    pub shared: Arc<Shared>,
    /// Bytes that a guest may have in bodies at once, in however many requests, and that it may leave
    /// in other resources of `wasi:http` in all.
    pub limit: usize,
}

impl HttpHooks {
    /// Counts what the guest leaves in a resource. It is never given back: the host counts what goes
    /// through its calls in the same way.
    pub fn hand_over(&self, bytes: usize) -> std::result::Result<(), Stop> {
        let before = self.shared.handed.fetch_add(bytes, Ordering::Relaxed);
        let wanted = before.saturating_add(bytes);
        if wanted > self.limit {
            return Err(Stop::HostBytes { wanted: wanted as u64, limit: self.limit as u64 });
        }
        Ok(())
    }
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
        let shared = self.shared.clone();
        Box::new(async move {
            let (request, share) = assemble(request, &shared).await?;
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

/// Reads the body, which the guest may still be writing, and takes over the shares of its parts.
async fn assemble(
    request: http::Request<WasiBody>,
    shared: &Arc<Shared>,
) -> Result<(HostRequest, Share)> {
    let (parts, mut body) = request.into_parts();
    let mut share = Share::none(shared);
    let mut collected = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else {
            continue; // trailers have no place in the contract
        };
        collected.extend_from_slice(&data);
        let bytes = data.len();
        // First, or a body that is just small enough would for a moment be too large.
        drop(data);
        share.add(bytes);
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
    Ok((call, share))
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

#[cfg(test)]
mod tests {
    use super::{BodyStream, Counted, HttpHooks, Share, assemble};
    use crate::guest::Shared;
    use crate::limits::Stop;
    use async_trait::async_trait;
    use bytes::Bytes;
    use http_body::{Body, Frame};
    use http_body_util::BodyExt;
    use std::collections::VecDeque;
    use std::pin::{Pin, pin};
    use std::sync::Arc;
    use std::sync::atomic::Ordering;
    use std::task::{Context, Poll, Waker};
    use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};
    use wasmtime_wasi_http::Error;

    fn unsent(shared: &Arc<Shared>) -> usize {
        shared.unsent.load(Ordering::Relaxed)
    }

    fn counted(shared: &Arc<Shared>, bytes: usize) -> Bytes {
        let share = Share::of(shared, bytes, usize::MAX).expect("no limit");
        Bytes::from_owner(Counted { bytes: vec![7; bytes].into(), _share: share })
    }

    /// A body that yields these parts and then waits for ever.
    struct Parts(VecDeque<Option<Result<Bytes, Error>>>);

    impl Body for Parts {
        type Data = Bytes;
        type Error = Error;
        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
            match self.0.pop_front() {
                Some(part) => Poll::Ready(part.map(|data| data.map(Frame::data))),
                None => Poll::Pending,
            }
        }
    }

    fn request(
        parts: impl IntoIterator<Item = Option<Result<Bytes, Error>>>,
    ) -> http::Request<wasmtime_wasi_http::WasiBody> {
        let body = Parts(parts.into_iter().collect()).boxed_unsync();
        http::Request::builder().uri("https://a.test/").body(body).expect("a request")
    }

    fn once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn all_bodies_share_one_limit_and_what_is_refused_takes_nothing() {
        let shared = Shared::unattended();
        let one = Share::of(&shared, 60, 100).expect("fits");
        let refused = Share::of(&shared, 41, 100).err();
        assert_eq!(refused, Some(Stop::HostBytes { wanted: 101, limit: 100 }));
        assert_eq!(unsent(&shared), 60);
        let other = Share::of(&shared, 40, 100).expect("just fits");
        drop(one);
        assert_eq!(unsent(&shared), 40);
        drop(other);
        assert_eq!(unsent(&shared), 0);
    }

    #[test]
    fn bytes_keep_their_share_until_the_last_of_them_is_let_go() {
        let shared = Shared::unattended();
        let mut whole = counted(&shared, 10);
        let part = whole.split_to(3);
        drop(whole);
        assert_eq!(unsent(&shared), 10);
        drop(part);
        assert_eq!(unsent(&shared), 0);
    }

    #[test]
    fn a_finished_body_takes_over_the_shares_of_its_parts() {
        let shared = Shared::unattended();
        let parts = [Some(Ok(counted(&shared, 30))), Some(Ok(counted(&shared, 12))), None];
        let Poll::Ready(Ok((call, share))) = once(pin!(assemble(request(parts), &shared))) else {
            panic!("nothing is waited for");
        };
        assert_eq!(call.http.and_then(|http| http.body).map(|body| body.len()), Some(42));
        assert_eq!(unsent(&shared), 42);
        drop(share);
        assert_eq!(unsent(&shared), 0);
    }

    #[test]
    fn a_body_that_is_given_up_gives_its_share_back() {
        let shared = Shared::unattended();
        let parts = [Some(Ok(counted(&shared, 30))), Some(Err(Error::HttpProtocolError))];
        let aborted = once(pin!(assemble(request(parts), &shared)));
        assert!(matches!(aborted, Poll::Ready(Err(_))));
        assert_eq!(unsent(&shared), 0, "the guest dropped it");
        {
            let mut waiting = pin!(assemble(request([Some(Ok(counted(&shared, 30)))]), &shared));
            assert!(once(waiting.as_mut()).is_pending());
            assert_eq!(unsent(&shared), 30, "the guest may write on");
        }
        assert_eq!(unsent(&shared), 0, "the execution ended");
    }

    /// Keeps what it is given, or is closed.
    struct Sink {
        kept: Vec<Bytes>,
        closed: bool,
    }

    #[async_trait]
    impl Pollable for Sink {
        async fn ready(&mut self) {}
    }

    impl OutputStream for Sink {
        fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
            if self.closed {
                return Err(StreamError::Closed);
            }
            self.kept.push(bytes);
            Ok(())
        }
        fn flush(&mut self) -> StreamResult<()> {
            Ok(())
        }
        fn check_write(&mut self) -> StreamResult<usize> {
            Ok(1000)
        }
    }

    #[test]
    fn a_write_beyond_the_limit_ends_the_execution_and_one_that_fails_takes_nothing() {
        let shared = Shared::unattended();
        let stream = |closed| BodyStream {
            inner: Box::new(Sink { kept: Vec::new(), closed }),
            shared: shared.clone(),
            limit: 100,
        };
        let (mut one, mut other) = (stream(false), stream(false));
        one.write(Bytes::from_static(&[0; 60])).expect("fits");
        other.write_zeroes(40).expect("just fits");
        let Err(StreamError::Trap(error)) = other.write(Bytes::from_static(&[0])) else {
            panic!("one byte too many");
        };
        assert_eq!(error.downcast_ref(), Some(&Stop::HostBytes { wanted: 101, limit: 100 }));
        drop(one);
        assert_eq!(unsent(&shared), 40);
        drop(other);
        let closed = stream(true).write(Bytes::from_static(&[0; 60]));
        assert!(matches!(closed, Err(StreamError::Closed)));
        assert_eq!(unsent(&shared), 0);
    }

    #[test]
    fn what_is_left_in_resources_counts_for_good() {
        let hooks = HttpHooks { shared: Shared::unattended(), limit: 100 };
        assert_eq!(hooks.hand_over(100), Ok(()));
        assert_eq!(hooks.hand_over(1), Err(Stop::HostBytes { wanted: 101, limit: 100 }));
    }
}
