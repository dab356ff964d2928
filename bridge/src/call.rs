//! Host calls: from the guest's function to the callback, and back through `ab_call_*`.

use crate::abi::*;
use crate::error::quiet;
use crate::guest::Shared;
use bytes::Bytes;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

/// What a guest asks for, owned.
pub(crate) struct HostRequest {
    pub op: AbOp,
    pub via: AbVia,
    pub key: String,
    pub body: Option<Bytes>,
    pub http: Option<HttpCall>,
    pub storage: Option<StorageCall>,
}

impl HostRequest {
    pub fn new(op: AbOp, via: AbVia) -> HostRequest {
        HostRequest { op, via, key: String::new(), body: None, http: None, storage: None }
    }

    pub fn keyed(op: AbOp, via: AbVia, key: String) -> HostRequest {
        HostRequest { key, ..HostRequest::new(op, via) }
    }

    /// Bytes that came from the guest.
    fn weight(&self) -> u64 {
        let body = |body: &Option<Bytes>| body.as_ref().map_or(0, Bytes::len);
        let http = self.http.as_ref().map_or(0, |http| {
            let headers: usize = http.headers.iter().map(|(n, v)| n.len() + v.len()).sum();
            http.method.len() + http.url.len() + headers + body(&http.body)
        });
        let storage = self.storage.as_ref().map_or(0, |storage| {
            storage.ns.len() + storage.key.len() + storage.value.len() + storage.cursor.len()
        });
        (self.key.len() + body(&self.body) + http + storage) as u64
    }
}

pub(crate) struct HttpCall {
    pub method: String,
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: Option<Bytes>,
}

pub(crate) struct StorageCall {
    pub ns: String,
    pub key: String,
    pub value: Bytes,
    pub condition: AbCondition,
    pub revision: u64,
    pub ttl_seconds: Option<u32>,
    pub cursor: String,
    pub limit: u32,
}

/// What the host answers.
#[derive(Debug)]
pub(crate) enum HostValue {
    None,
    U64(u64),
    Text(Bytes),
    Bytes(Bytes),
    Pairs(Vec<(String, String)>),
    Context(crate::link::types::ContextData),
    User(UserRecord),
    Http(HttpAnswer),
    Entry(StoredEntry),
    Page(Vec<StoredEntry>, Option<String>),
}

impl HostValue {
    /// Bytes that go to the guest.
    fn weight(&self) -> u64 {
        let pairs = |pairs: &[(String, String)]| -> usize {
            pairs.iter().map(|(name, value)| name.len() + value.len()).sum()
        };
        let entry = |e: &StoredEntry| e.ns.len() + e.key.len() + e.value.len();
        (match self {
            HostValue::None | HostValue::U64(_) | HostValue::Context(_) => 0,
            HostValue::Text(bytes) | HostValue::Bytes(bytes) => bytes.len(),
            HostValue::Pairs(list) => pairs(list),
            HostValue::User(user) => pairs(&user.additional),
            HostValue::Http(answer) => answer.body.len() + pairs(&answer.headers),
            HostValue::Entry(one) => entry(one),
            HostValue::Page(entries, _) => entries.iter().map(entry).sum(),
        }) as u64
    }
}

#[derive(Clone, Debug)]
pub(crate) struct UserRecord {
    pub tenant_id: String,
    pub client_name: String,
    pub user_id: String,
    pub user_email: String,
    pub user_name: String,
    pub user_type: String,
    pub client_id: Option<String>,
    pub additional: Vec<(String, String)>,
}

#[derive(Debug)]
pub(crate) struct HttpAnswer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

#[derive(Debug)]
pub(crate) struct StoredEntry {
    pub ns: String,
    pub key: String,
    pub value: Bytes,
    pub revision: u64,
}

#[derive(Debug)]
pub(crate) enum Completion {
    Value(HostValue),
    Error(HostError),
    Abort(String),
}

enum Slot {
    Waiting(Option<Waker>),
    Done(Completion),
    /// The guest is gone, or the answer was taken.
    Closed,
}

/// Where the answer of one call meets the guest that waits for it.
struct Mailbox(Mutex<Slot>);

impl Mailbox {
    fn with<R>(&self, f: impl FnOnce(&mut Slot) -> R) -> R {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn deliver(&self, completion: Completion) {
        // Both the waker and a refused answer are dropped or used outside the lock.
        let (waker, refused) = self.with(|slot| match slot {
            Slot::Waiting(waker) => {
                let waker = waker.take();
                *slot = Slot::Done(completion);
                (waker, None)
            }
            Slot::Done(_) | Slot::Closed => (None, Some(completion)),
        });
        drop(refused);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// `ab_call`: owned by the host until one of the `ab_call_*` functions consumes it. Holds the
/// request, so that its views live exactly as long.
pub struct AbCall {
    id: u64,
    mailbox: Arc<Mailbox>,
    view: AbHostRequest,
    http_view: Option<AbHttpRequest>,
    storage_view: Option<AbStorageRequest>,
    header_views: Vec<AbPair>,
    request: HostRequest,
}

impl AbCall {
    /// Boxed, because the views point into it.
    fn new(id: u64, mailbox: Arc<Mailbox>, request: HostRequest) -> Box<AbCall> {
        let view = AbHostRequest {
            op: request.op,
            via: request.via,
            key: AbStr::EMPTY,
            body: AbStr::EMPTY,
            has_body: 0,
            http: std::ptr::null(),
            storage: std::ptr::null(),
        };
        let mut call = Box::new(AbCall {
            id,
            mailbox,
            view,
            http_view: None,
            storage_view: None,
            header_views: Vec::new(),
            request,
        });
        call.fill_views();
        call
    }

    fn fill_views(&mut self) {
        fn body(bytes: &Option<Bytes>) -> (AbView, u8) {
            let view = bytes.as_deref().map_or(AbStr::EMPTY, AbStr::from);
            (view, bytes.is_some().into())
        }
        let request = &self.request;
        self.view.key = request.key.as_str().into();
        (self.view.body, self.view.has_body) = body(&request.body);
        if let Some(http) = &request.http {
            self.header_views = http
                .headers
                .iter()
                .map(|(name, value)| AbPair {
                    name: name.as_str().into(),
                    value: value.as_str().into(),
                })
                .collect();
            let (bytes, has_body) = body(&http.body);
            let view = self.http_view.insert(AbHttpRequest {
                method: http.method.as_str().into(),
                url: http.url.as_str().into(),
                headers: self.header_views.as_ptr(),
                n_headers: self.header_views.len(),
                body: bytes,
                has_body,
            });
            self.view.http = view;
        }
        if let Some(storage) = &request.storage {
            let view = self.storage_view.insert(AbStorageRequest {
                ns: storage.ns.as_str().into(),
                key: storage.key.as_str().into(),
                value: AbStr::from(&*storage.value),
                condition: storage.condition,
                revision: storage.revision,
                ttl_seconds: storage.ttl_seconds.unwrap_or(0),
                has_ttl: storage.ttl_seconds.is_some().into(),
                cursor: storage.cursor.as_str().into(),
                limit: storage.limit,
            });
            self.view.storage = view;
        }
    }
}

/// The guest's end of a call. Dropping it before the answer came abandons the call.
pub(crate) struct CallFuture {
    id: u64,
    mailbox: Arc<Mailbox>,
    shared: Arc<Shared>,
}

impl Future for CallFuture {
    type Output = Completion;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Completion> {
        self.mailbox.with(|slot| match slot {
            Slot::Waiting(waker) => {
                match waker {
                    Some(old) if old.will_wake(cx.waker()) => {}
                    _ => *waker = Some(cx.waker().clone()),
                }
                Poll::Pending
            }
            _ => match std::mem::replace(slot, Slot::Closed) {
                Slot::Done(completion) => {
                    if let Completion::Value(value) = &completion {
                        self.shared.count_out(value.weight());
                    }
                    Poll::Ready(completion)
                }
                _ => Poll::Ready(Completion::Error(HostError::Internal)),
            },
        })
    }
}

impl Drop for CallFuture {
    fn drop(&mut self) {
        let previous = self.mailbox.with(|slot| std::mem::replace(slot, Slot::Closed));
        if let Slot::Waiting(_) = previous {
            self.shared.abandoned(self.id);
        }
    }
}

/// A call that may still be waited for, on another thread than that of the execution.
pub(crate) struct Waiting {
    id: u64,
    mailbox: Weak<Mailbox>,
}

impl Waiting {
    pub fn is_over(&self) -> bool {
        self.mailbox.strong_count() == 0
    }

    /// Nobody waits from here on. The number of the call, when it has not been answered.
    pub fn give_up(&self) -> Option<u64> {
        let mailbox = self.mailbox.upgrade()?;
        let waker = mailbox.with(|slot| match slot {
            Slot::Waiting(_) => Some(std::mem::replace(slot, Slot::Closed)),
            Slot::Done(_) | Slot::Closed => None,
        });
        waker.map(|_| self.id)
    }
}

impl CallFuture {
    pub fn waiting(&self) -> Waiting {
        Waiting { id: self.id, mailbox: Arc::downgrade(&self.mailbox) }
    }
}

/// Hands a request to the host. `Err` is the reason to end the execution: the callback refused.
pub(crate) fn issue(shared: &Arc<Shared>, request: HostRequest) -> Result<CallFuture, String> {
    let id = shared.count_call(request.weight());
    let mailbox = Arc::new(Mailbox(Mutex::new(Slot::Waiting(None))));
    let call = Box::into_raw(AbCall::new(id, mailbox.clone(), request));
    let future = CallFuture { id, mailbox: mailbox.clone(), shared: shared.clone() };
    // SAFETY: `call` is valid until consumed, and the host may consume it from here on.
    let refused = shared.call(unsafe { &raw const (*call).view }, call) != 0;
    if !refused {
        return Ok(future);
    }
    let unconsumed =
        mailbox.with(|slot| matches!(std::mem::replace(slot, Slot::Closed), Slot::Waiting(_)));
    if unconsumed {
        // SAFETY: the host refused without consuming, so it is still ours.
        drop(unsafe { Box::from_raw(call) });
    }
    Err("the host refused a call".to_owned())
}

/// # Safety
/// `call` is NULL or not consumed yet; it is consumed here.
unsafe fn complete(call: *mut AbCall, completion: impl FnOnce() -> Completion) {
    if call.is_null() {
        return;
    }
    // SAFETY: promised by the caller; came from Box::into_raw in `issue`.
    let call = unsafe { Box::from_raw(call) };
    let mailbox = call.mailbox.clone();
    // The views that a completion is copied from may be those of the request: free it afterwards.
    quiet(|| mailbox.deliver(completion()));
    quiet(|| drop(call));
}

/// # Safety
/// `call` is NULL or not consumed yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ab_call_id(call: *const AbCall) -> u64 {
    // SAFETY: promised by the caller.
    unsafe { call.as_ref() }.map_or(0, |call| call.id)
}

/// # Safety
/// `call` is NULL or not consumed yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ab_call_ok_none(call: *mut AbCall) {
    // SAFETY: promised by the caller.
    unsafe { complete(call, || Completion::Value(HostValue::None)) }
}

/// # Safety
/// `call` is NULL or not consumed yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ab_call_ok_u64(call: *mut AbCall, value: u64) {
    // SAFETY: promised by the caller.
    unsafe { complete(call, || Completion::Value(HostValue::U64(value))) }
}

/// # Safety
/// `call` is NULL or not consumed yet; `utf8` is consumed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ab_call_ok_string(call: *mut AbCall, utf8: AbOwned) {
    // SAFETY: ownership of the buffer passes to us, promised by the caller.
    let bytes = unsafe { utf8.into_bytes() };
    // SAFETY: promised by the caller.
    unsafe { complete(call, || Completion::Value(HostValue::Text(bytes))) }
}

/// # Safety
/// `call` is NULL or not consumed yet; `bytes` is consumed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ab_call_ok_bytes(call: *mut AbCall, bytes: AbOwned) {
    // SAFETY: ownership of the buffer passes to us, promised by the caller.
    let bytes = unsafe { bytes.into_bytes() };
    // SAFETY: promised by the caller.
    unsafe { complete(call, || Completion::Value(HostValue::Bytes(bytes))) }
}

/// # Safety
/// `call` is NULL or not consumed yet; the array and its views are valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ab_call_ok_pairs(call: *mut AbCall, list: *const AbPair, n: usize) {
    // SAFETY: promised by the caller.
    unsafe { complete(call, || Completion::Value(HostValue::Pairs(pairs(list, n)))) }
}

/// # Safety
/// `call` is NULL or not consumed yet; `context` is NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ab_call_ok_context(call: *mut AbCall, context: *const AbContext) {
    // SAFETY: promised by the caller.
    unsafe {
        complete(call, || match context.as_ref() {
            Some(context) => Completion::Value(HostValue::Context(context.to_record())),
            None => Completion::Error(HostError::Internal),
        })
    }
}

/// # Safety
/// `call` is NULL or not consumed yet; `user` is NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ab_call_ok_user(call: *mut AbCall, user: *const AbUser) {
    // SAFETY: promised by the caller.
    unsafe {
        complete(call, || match user.as_ref() {
            None => Completion::Error(HostError::Internal),
            Some(user) => Completion::Value(HostValue::User(UserRecord {
                tenant_id: user.tenant_id.to_text(),
                client_name: user.client_name.to_text(),
                user_id: user.user_id.to_text(),
                user_email: user.user_email.to_text(),
                user_name: user.user_name.to_text(),
                user_type: user.user_type.to_text(),
                client_id: (user.has_client_id != 0).then(|| user.client_id.to_text()),
                additional: pairs(user.additional, user.n_additional),
            })),
        })
    }
}

/// # Safety
/// `call` is NULL or not consumed yet; `response` is NULL or valid, and its body is consumed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ab_call_ok_http(call: *mut AbCall, response: *const AbHttpResponse) {
    // SAFETY: promised by the caller; the body is moved out exactly once.
    unsafe {
        let answer = response.as_ref().map(|response| HttpAnswer {
            status: response.status,
            headers: pairs(response.headers, response.n_headers),
            body: std::ptr::read(&response.body).into_bytes(),
        });
        complete(call, || match answer {
            Some(answer) => Completion::Value(HostValue::Http(answer)),
            None => Completion::Error(HostError::Internal),
        })
    }
}

/// # Safety
/// The entry and its views are valid.
unsafe fn stored(entry: &AbStorageEntry) -> StoredEntry {
    // SAFETY: promised by the caller.
    unsafe {
        StoredEntry {
            ns: entry.ns.to_text(),
            key: entry.key.to_text(),
            value: Bytes::copy_from_slice(entry.value.bytes()),
            revision: entry.revision,
        }
    }
}

/// # Safety
/// `call` is NULL or not consumed yet; `entry` is NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ab_call_ok_entry(call: *mut AbCall, entry: *const AbStorageEntry) {
    // SAFETY: promised by the caller.
    unsafe {
        complete(call, || match entry.as_ref() {
            Some(entry) => Completion::Value(HostValue::Entry(stored(entry))),
            None => Completion::Error(HostError::Internal),
        })
    }
}

/// # Safety
/// `call` is NULL or not consumed yet; the array and its views are valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ab_call_ok_page(
    call: *mut AbCall,
    entries: *const AbStorageEntry,
    n: usize,
    next_cursor: AbStr,
    has_next: u8,
) {
    // SAFETY: promised by the caller.
    unsafe {
        complete(call, || {
            let entries = array(entries, n).iter().map(|entry| stored(entry)).collect();
            let next = (has_next != 0).then(|| next_cursor.to_text());
            Completion::Value(HostValue::Page(entries, next))
        })
    }
}

/// # Safety
/// `call` is NULL or not consumed yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ab_call_err(call: *mut AbCall, error: u32) {
    // SAFETY: promised by the caller.
    unsafe { complete(call, || Completion::Error(HostError::from_c(error))) }
}

/// # Safety
/// `call` is NULL or not consumed yet; `reason` is valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ab_call_abort(call: *mut AbCall, reason: AbStr) {
    // SAFETY: promised by the caller.
    unsafe { complete(call, || Completion::Abort(reason.to_text())) }
}
