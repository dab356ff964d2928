//! The unversioned `alga:extension` of the reference system, so that bundles made for it link.

use super::host_func;
use super::types::{HttpRequest, Utf8};
use super::v1::{
    ProxyError, SecretError, UserData, UserError, ask, bytes, entry, fetch_request, fetched,
    get_context, names, nothing, number, storage_request, text, user, with_storage,
};
use crate::abi::{AbCondition, AbLogLevel, AbOp, AbVia, HostError};
use crate::call::{HostRequest, HostValue, StoredEntry};
use crate::guest::{Guest, host_call};
use bytes::Bytes;
use wasmtime::Result;
use wasmtime::component::{ComponentType, Lift, Linker, Lower};

const VIA: AbVia = AbVia::Compat;

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
    #[component(name = "internal")]
    Internal,
}

impl From<HostError> for HttpError {
    fn from(error: HostError) -> Self {
        match error {
            HostError::Invalid => HttpError::InvalidUrl,
            HostError::Denied | HostError::Limit | HostError::Quota => HttpError::NotAllowed,
            HostError::Transport | HostError::Timeout => HttpError::Transport,
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
    #[component(name = "internal")]
    Internal,
}

impl From<HostError> for StorageError {
    fn from(error: HostError) -> Self {
        match error {
            HostError::Missing => StorageError::Missing,
            HostError::Conflict => StorageError::Conflict,
            HostError::Denied | HostError::Quota | HostError::Limit => StorageError::Denied,
            _ => StorageError::Internal,
        }
    }
}

#[derive(Clone, ComponentType, Lift, Lower)]
#[component(record)]
struct StorageEntry {
    namespace: String,
    key: String,
    value: Bytes,
    revision: Option<u64>,
}

impl From<StoredEntry> for StorageEntry {
    fn from(entry: StoredEntry) -> Self {
        StorageEntry {
            namespace: entry.ns,
            key: entry.key,
            value: entry.value,
            revision: Some(entry.revision),
        }
    }
}

pub fn add(linker: &mut Linker<Guest>) -> Result<()> {
    basics(linker)?;
    network(linker)?;
    storage(linker)
}

fn basics(linker: &mut Linker<Guest>) -> Result<()> {
    let mut context = linker.instance("alga:extension/context")?;
    host_func(&mut context, "get-context", |shared, ()| get_context(shared, VIA))?;

    let mut logging = linker.instance("alga:extension/logging")?;
    for (name, level) in [
        ("log-info", AbLogLevel::Info),
        ("log-warn", AbLogLevel::Warn),
        ("log-error", AbLogLevel::Error),
    ] {
        logging.func_wrap(name, move |store, (message,): (String,)| {
            Ok(store.data().shared.log(level, &message)?)
        })?;
    }

    let mut secrets = linker.instance("alga:extension/secrets")?;
    host_func(&mut secrets, "get", |shared, (key,): (String,)| {
        ask::<Utf8, SecretError>(shared, HostRequest::keyed(AbOp::SecretGet, VIA, key), text)
    })?;
    host_func(&mut secrets, "list-keys", |shared, ()| async move {
        let request = HostRequest::new(AbOp::SecretKeys, VIA);
        // This function has no error case: a denied guest sees no names.
        Ok(host_call(shared, request).await?.ok().and_then(names).unwrap_or_default())
    })?;

    // `user` is defined per component, see `user_shapes`.
    let mut users = linker.instance("alga:extension/user-v2")?;
    host_func(&mut users, "get-user", |shared, ()| {
        let request = HostRequest::new(AbOp::UserGet, VIA);
        ask::<_, UserError>(shared, request, |value| user(value).map(UserData::from))
    })
}

fn network(linker: &mut Linker<Guest>) -> Result<()> {
    let mut http = linker.instance("alga:extension/http")?;
    host_func(&mut http, "fetch", |shared, (request,): (HttpRequest,)| {
        ask::<_, HttpError>(shared, fetch_request(request, VIA), fetched)
    })?;

    let mut proxy = linker.instance("alga:extension/ui-proxy")?;
    host_func(&mut proxy, "call-route", |shared, (route, payload): (String, Option<Bytes>)| {
        let mut request = HostRequest::keyed(AbOp::UiCall, VIA, route);
        request.body = payload;
        ask::<_, ProxyError>(shared, request, bytes)
    })
}

fn storage(linker: &mut Linker<Guest>) -> Result<()> {
    let mut storage = linker.instance("alga:extension/storage")?;
    host_func(&mut storage, "get", |shared, (ns, key): (String, String)| {
        let request = storage_request(AbOp::StorageGet, VIA, ns, key);
        ask::<_, StorageError>(shared, request, |value| entry(value).map(StorageEntry::from))
    })?;
    host_func(&mut storage, "put", |shared, (input,): (StorageEntry,)| {
        let request =
            storage_request(AbOp::StoragePut, VIA, input.namespace.clone(), input.key.clone());
        let request = with_storage(request, |put| {
            put.value = input.value.clone();
            if let Some(revision) = input.revision {
                (put.condition, put.revision) = (AbCondition::Revision, revision);
            }
        });
        // The answer echoes the input under its new revision.
        ask::<_, StorageError>(shared, request, |value| {
            let revision = Some(number(value)?);
            Some(StorageEntry { revision, ..input })
        })
    })?;
    host_func(&mut storage, "delete", |shared, (ns, key): (String, String)| {
        let request = storage_request(AbOp::StorageDelete, VIA, ns, key);
        ask::<_, StorageError>(shared, request, nothing)
    })?;
    host_func(&mut storage, "list-entries", |shared, (ns, cursor): (String, Option<String>)| {
        let request = storage_request(AbOp::StorageList, VIA, ns, String::new());
        let request = with_storage(request, |list| list.cursor = cursor.unwrap_or_default());
        ask::<_, StorageError>(shared, request, |value| match value {
            HostValue::Page(entries, _) => {
                Some(entries.into_iter().map(StorageEntry::from).collect::<Vec<_>>())
            }
            _ => None,
        })
    })
}
