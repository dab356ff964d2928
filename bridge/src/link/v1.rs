//! `alga:extension@1.0.0`.

use super::host_func;
use super::types::{ContextData, HttpRequest, HttpResponse, Utf8, headers};
use crate::abi::{AbCondition, AbLogLevel, AbOp, AbVia, HostError};
use crate::call::{HostRequest, HostValue, HttpCall, StorageCall, StoredEntry, UserRecord};
use crate::guest::{Guest, Shared, host_call};
use crate::limits::Stop;
use bytes::Bytes;
use std::sync::Arc;
use wasmtime::Result;
use wasmtime::component::{ComponentType, Lift, Linker, Lower};

const VIA: AbVia = AbVia::V1;

#[derive(Clone, Copy, ComponentType, Lower)]
#[component(enum)]
#[repr(u8)]
enum ConfigError {
    #[component(name = "denied")]
    Denied,
    #[component(name = "internal")]
    Internal,
}

#[derive(Clone, Copy, ComponentType, Lower)]
#[component(enum)]
#[repr(u8)]
pub(super) enum SecretError {
    #[component(name = "missing")]
    Missing,
    #[component(name = "denied")]
    Denied,
    #[component(name = "expired")]
    Expired,
    #[component(name = "internal")]
    Internal,
}

impl From<HostError> for SecretError {
    fn from(error: HostError) -> Self {
        match error {
            HostError::Missing => SecretError::Missing,
            HostError::Denied => SecretError::Denied,
            HostError::Expired => SecretError::Expired,
            _ => SecretError::Internal,
        }
    }
}

#[derive(Clone, Copy, ComponentType, Lower)]
#[component(enum)]
#[repr(u8)]
enum HttpError {
    #[component(name = "invalid-url")]
    InvalidUrl,
    #[component(name = "not-allowed")]
    NotAllowed,
    #[component(name = "transport")]
    Transport,
    #[component(name = "timeout")]
    Timeout,
    #[component(name = "too-large")]
    TooLarge,
    #[component(name = "limit")]
    Limit,
    #[component(name = "internal")]
    Internal,
}

impl From<HostError> for HttpError {
    fn from(error: HostError) -> Self {
        match error {
            HostError::Invalid => HttpError::InvalidUrl,
            HostError::Denied => HttpError::NotAllowed,
            HostError::Transport => HttpError::Transport,
            HostError::Timeout => HttpError::Timeout,
            HostError::TooLarge => HttpError::TooLarge,
            HostError::Limit | HostError::Quota => HttpError::Limit,
            _ => HttpError::Internal,
        }
    }
}

#[derive(Clone, Copy, ComponentType, Lower)]
#[component(enum)]
#[repr(u8)]
enum StorageError {
    #[component(name = "missing")]
    Missing,
    #[component(name = "conflict")]
    Conflict,
    #[component(name = "denied")]
    Denied,
    #[component(name = "invalid")]
    Invalid,
    #[component(name = "quota")]
    Quota,
    #[component(name = "internal")]
    Internal,
}

impl From<HostError> for StorageError {
    fn from(error: HostError) -> Self {
        match error {
            HostError::Missing => StorageError::Missing,
            HostError::Conflict => StorageError::Conflict,
            HostError::Denied => StorageError::Denied,
            HostError::Invalid | HostError::TooLarge => StorageError::Invalid,
            HostError::Quota | HostError::Limit => StorageError::Quota,
            _ => StorageError::Internal,
        }
    }
}

#[derive(Clone, Copy, ComponentType, Lower)]
#[component(enum)]
#[repr(u8)]
pub(super) enum ProxyError {
    #[component(name = "route-not-found")]
    RouteNotFound,
    #[component(name = "denied")]
    Denied,
    #[component(name = "bad-request")]
    BadRequest,
    #[component(name = "internal")]
    Internal,
}

impl From<HostError> for ProxyError {
    fn from(error: HostError) -> Self {
        match error {
            HostError::Missing => ProxyError::RouteNotFound,
            HostError::Denied => ProxyError::Denied,
            HostError::Invalid => ProxyError::BadRequest,
            _ => ProxyError::Internal,
        }
    }
}

#[derive(Clone, Copy, ComponentType, Lower)]
#[component(enum)]
#[repr(u8)]
pub(super) enum UserError {
    #[component(name = "not-available")]
    NotAvailable,
    #[component(name = "not-allowed")]
    NotAllowed,
}

impl From<HostError> for UserError {
    fn from(error: HostError) -> Self {
        match error {
            HostError::Denied => UserError::NotAllowed,
            _ => UserError::NotAvailable,
        }
    }
}

#[derive(Clone, Copy, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[allow(dead_code)] // made by lifting
enum LogLevel {
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
}

#[derive(ComponentType, Lower)]
#[component(record)]
struct StorageEntry {
    namespace: String,
    key: String,
    value: Bytes,
    revision: u64,
}

impl From<StoredEntry> for StorageEntry {
    fn from(entry: StoredEntry) -> Self {
        StorageEntry {
            namespace: entry.ns,
            key: entry.key,
            value: entry.value,
            revision: entry.revision,
        }
    }
}

#[derive(ComponentType, Lift)]
#[component(variant)]
enum WriteCondition {
    #[component(name = "always")]
    Always,
    #[component(name = "create-only")]
    CreateOnly,
    #[component(name = "revision")]
    Revision(u64),
}

impl WriteCondition {
    fn split(&self) -> (AbCondition, u64) {
        match *self {
            WriteCondition::Always => (AbCondition::Always, 0),
            WriteCondition::CreateOnly => (AbCondition::CreateOnly, 0),
            WriteCondition::Revision(revision) => (AbCondition::Revision, revision),
        }
    }
}

#[derive(ComponentType, Lift)]
#[component(record)]
struct PutOptions {
    condition: WriteCondition,
    #[component(name = "ttl-seconds")]
    ttl_seconds: Option<u32>,
}

#[derive(ComponentType, Lift)]
#[component(record)]
struct ListOptions {
    prefix: Option<String>,
    cursor: Option<String>,
    limit: Option<u32>,
}

#[derive(ComponentType, Lower)]
#[component(record)]
struct StoragePage {
    entries: Vec<StorageEntry>,
    #[component(name = "next-cursor")]
    next_cursor: Option<String>,
}

/// Also `user-data-v2` of the unversioned package.
#[derive(ComponentType, Lower)]
#[component(record)]
pub(super) struct UserData {
    #[component(name = "tenant-id")]
    tenant_id: String,
    #[component(name = "client-name")]
    client_name: String,
    #[component(name = "user-id")]
    user_id: String,
    #[component(name = "user-email")]
    user_email: String,
    #[component(name = "user-name")]
    user_name: String,
    #[component(name = "user-type")]
    user_type: String,
    #[component(name = "client-id")]
    client_id: Option<String>,
    #[component(name = "additional-fields")]
    additional_fields: Vec<(String, String)>,
}

impl From<UserRecord> for UserData {
    fn from(user: UserRecord) -> Self {
        UserData {
            tenant_id: user.tenant_id,
            client_name: user.client_name,
            user_id: user.user_id,
            user_email: user.user_email,
            user_name: user.user_name,
            user_type: user.user_type,
            client_id: user.client_id,
            additional_fields: user.additional,
        }
    }
}

/// Asks the host; `pick` takes the value out of an answer of the right kind. An answer of the wrong
/// kind is a mistake of the host and reaches the guest as an internal error.
pub(super) async fn ask<T, E: From<HostError>>(
    shared: Arc<Shared>,
    request: HostRequest,
    pick: impl FnOnce(HostValue) -> Option<T>,
) -> Result<std::result::Result<T, E>> {
    Ok(match host_call(shared, request).await? {
        Ok(value) => pick(value).ok_or_else(|| HostError::Internal.into()),
        Err(error) => Err(error.into()),
    })
}

pub(super) async fn get_context(shared: Arc<Shared>, via: AbVia) -> Result<ContextData> {
    let request = HostRequest::new(AbOp::ContextGet, via);
    match host_call(shared, request).await? {
        Ok(HostValue::Context(context)) => Ok(context),
        Ok(_) => Err(Stop::Host("context: wrong kind of answer".to_owned()).into()),
        // The function has no error of its own.
        Err(error) => Err(Stop::Host(format!("context: {error:?}")).into()),
    }
}

pub(super) fn text(value: HostValue) -> Option<Utf8> {
    match value {
        HostValue::Text(bytes) => Utf8::new(bytes),
        _ => None,
    }
}

pub(super) fn names(value: HostValue) -> Option<Vec<String>> {
    match value {
        HostValue::Pairs(pairs) => Some(pairs.into_iter().map(|(name, _)| name).collect()),
        _ => None,
    }
}

pub(super) fn user(value: HostValue) -> Option<UserRecord> {
    match value {
        HostValue::User(user) => Some(user),
        _ => None,
    }
}

pub(super) fn bytes(value: HostValue) -> Option<Bytes> {
    match value {
        HostValue::Bytes(bytes) => Some(bytes),
        _ => None,
    }
}

pub(super) fn fetch_request(request: HttpRequest, via: AbVia) -> HostRequest {
    let mut call = HostRequest::new(AbOp::HttpFetch, via);
    call.http = Some(HttpCall {
        method: request.method,
        url: request.url,
        headers: request.headers.into_iter().map(|h| (h.name, h.value)).collect(),
        body: request.body,
    });
    call
}

pub(super) fn fetched(value: HostValue) -> Option<HttpResponse> {
    match value {
        HostValue::Http(answer) => Some(HttpResponse {
            status: answer.status,
            headers: headers(answer.headers),
            body: Some(answer.body),
        }),
        _ => None,
    }
}

pub(super) fn storage_request(op: AbOp, via: AbVia, ns: String, key: String) -> HostRequest {
    let mut call = HostRequest::new(op, via);
    call.storage = Some(StorageCall {
        ns,
        key,
        value: Bytes::new(),
        condition: AbCondition::Always,
        revision: 0,
        ttl_seconds: None,
        cursor: String::new(),
        limit: 0,
    });
    call
}

/// Applies `change` to the storage part of a request made by [`storage_request`].
pub(super) fn with_storage(
    mut request: HostRequest,
    change: impl FnOnce(&mut StorageCall),
) -> HostRequest {
    request.storage.as_mut().map(change);
    request
}

pub(super) fn entry(value: HostValue) -> Option<StoredEntry> {
    match value {
        HostValue::Entry(entry) => Some(entry),
        _ => None,
    }
}

pub(super) fn number(value: HostValue) -> Option<u64> {
    match value {
        HostValue::U64(number) => Some(number),
        _ => None,
    }
}

pub(super) fn nothing(value: HostValue) -> Option<()> {
    matches!(value, HostValue::None).then_some(())
}

pub fn add(linker: &mut Linker<Guest>) -> Result<()> {
    identity(linker)?;
    configuration(linker)?;
    network(linker)?;
    storage(linker)
}

fn identity(linker: &mut Linker<Guest>) -> Result<()> {
    let mut context = linker.instance("alga:extension/context@1.0.0")?;
    host_func(&mut context, "get-context", |shared, ()| get_context(shared, VIA))?;
    host_func(&mut context, "remaining-time-ms", |shared, ()| async move {
        let request = HostRequest::new(AbOp::ContextRemaining, VIA);
        match host_call(shared, request).await? {
            Ok(HostValue::U64(ms)) => Ok(u32::try_from(ms).unwrap_or(u32::MAX)),
            _ => Ok(0),
        }
    })?;

    let mut logging = linker.instance("alga:extension/logging@1.0.0")?;
    logging.func_wrap("log", |store, (level, message): (LogLevel, String)| {
        let level = match level {
            LogLevel::Debug => AbLogLevel::Debug,
            LogLevel::Info => AbLogLevel::Info,
            LogLevel::Warn => AbLogLevel::Warn,
            LogLevel::Error => AbLogLevel::Error,
        };
        Ok(store.data().shared.log(level, &message)?)
    })?;

    let mut users = linker.instance("alga:extension/user@1.0.0")?;
    host_func(&mut users, "get-user", |shared, ()| {
        let request = HostRequest::new(AbOp::UserGet, VIA);
        ask::<_, UserError>(shared, request, |value| user(value).map(UserData::from))
    })
}

fn configuration(linker: &mut Linker<Guest>) -> Result<()> {
    let mut config = linker.instance("alga:extension/config@1.0.0")?;
    host_func(&mut config, "get", |shared, (key,): (String,)| {
        let request = HostRequest::keyed(AbOp::ConfigGet, VIA, key);
        ask::<_, ConfigError>(shared, request, |value| match value {
            HostValue::None => Some(None),
            other => text(other).map(Some),
        })
    })?;
    host_func(&mut config, "entries", |shared, ()| {
        let request = HostRequest::new(AbOp::ConfigEntries, VIA);
        ask::<_, ConfigError>(shared, request, |value| match value {
            HostValue::Pairs(pairs) => Some(pairs),
            _ => None,
        })
    })?;

    let mut secrets = linker.instance("alga:extension/secrets@1.0.0")?;
    host_func(&mut secrets, "get", |shared, (key,): (String,)| {
        ask::<_, SecretError>(shared, HostRequest::keyed(AbOp::SecretGet, VIA, key), text)
    })?;
    host_func(&mut secrets, "list-keys", |shared, ()| {
        ask::<_, SecretError>(shared, HostRequest::new(AbOp::SecretKeys, VIA), names)
    })
}

impl From<HostError> for ConfigError {
    fn from(error: HostError) -> Self {
        match error {
            HostError::Denied => ConfigError::Denied,
            _ => ConfigError::Internal,
        }
    }
}

fn network(linker: &mut Linker<Guest>) -> Result<()> {
    let mut http = linker.instance("alga:extension/http@1.0.0")?;
    host_func(&mut http, "fetch", |shared, (request,): (HttpRequest,)| {
        ask::<_, HttpError>(shared, fetch_request(request, VIA), fetched)
    })?;

    let mut proxy = linker.instance("alga:extension/ui-proxy@1.0.0")?;
    host_func(&mut proxy, "call-route", |shared, (route, payload): (String, Option<Bytes>)| {
        let mut request = HostRequest::keyed(AbOp::UiCall, VIA, route);
        request.body = payload;
        ask::<_, ProxyError>(shared, request, bytes)
    })
}

fn storage(linker: &mut Linker<Guest>) -> Result<()> {
    let mut storage = linker.instance("alga:extension/storage@1.0.0")?;
    host_func(&mut storage, "get", |shared, (ns, key): (String, String)| {
        let request = storage_request(AbOp::StorageGet, VIA, ns, key);
        ask::<_, StorageError>(shared, request, |value| entry(value).map(StorageEntry::from))
    })?;
    host_func(
        &mut storage,
        "put",
        |shared, (ns, key, value, options): (String, String, Bytes, PutOptions)| {
            let request = storage_request(AbOp::StoragePut, VIA, ns, key);
            let request = with_storage(request, |put| {
                put.value = value;
                (put.condition, put.revision) = options.condition.split();
                put.ttl_seconds = options.ttl_seconds;
            });
            ask::<_, StorageError>(shared, request, number)
        },
    )?;
    host_func(
        &mut storage,
        "delete",
        |shared, (ns, key, condition): (String, String, WriteCondition)| {
            let request = storage_request(AbOp::StorageDelete, VIA, ns, key);
            let request = with_storage(request, |delete| {
                (delete.condition, delete.revision) = condition.split();
            });
            ask::<_, StorageError>(shared, request, nothing)
        },
    )?;
    host_func(&mut storage, "list-entries", |shared, (ns, options): (String, ListOptions)| {
        let prefix = options.prefix.unwrap_or_default();
        let request = storage_request(AbOp::StorageList, VIA, ns, prefix);
        let request = with_storage(request, |list| {
            list.cursor = options.cursor.unwrap_or_default();
            list.limit = options.limit.unwrap_or(0);
        });
        ask::<_, StorageError>(shared, request, |value| match value {
            HostValue::Page(entries, next_cursor) => Some(StoragePage {
                entries: entries.into_iter().map(StorageEntry::from).collect(),
                next_cursor,
            }),
            _ => None,
        })
    })
}
