//! Legacy core modules (JSON in, JSON out): wrapped into components once, at publish.

use crate::abi::{AbLogLevel, AbOp, AbOwned, AbStatus, AbVia, AbView, HostError};
use crate::call::{HostRequest, HostValue, HttpAnswer, HttpCall};
use crate::error::{AbError, guard};
use crate::guest::{Guest, host_call};
use crate::link::host_func;
use crate::link::types::{ExecuteRequest, ExecuteResponse, HttpHeader};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde_json::{Map, Value, json};
use wasmtime::component::Linker;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// Brackets, commas and colons of the longest JSON that is taken apart. A value of two bytes becomes
/// one of thirty, so that text which a guest may well send would take a gigabyte.
const MOST_SIGNS: usize = 1 << 16;

const ADAPTER: &str = include_str!("legacy.wat");

const CONTRACT: &str = "
package alga:legacy@1.0.0;
interface host {
  log-info: func(message: list<u8>);
  log-error: func(message: list<u8>);
  fetch: func(request: list<u8>) -> result<list<u8>, s32>;
}
interface guest {
  invoke: func(request: list<u8>) -> result<list<u8>, s32>;
}
world adapter {
  import host;
  export guest;
}
";

/// The exported interface and function of a wrapped module.
pub(crate) const GUEST: &str = "alga:legacy/guest@1.0.0";
pub(crate) const INVOKE: &str = "invoke";

/// What `http.fetch` returns when there is no response; 0 is success.
const BAD_REQUEST: i32 = 1;
const NOT_ALLOWED: i32 = 2;
const TRANSPORT: i32 = 3;
const INTERNAL: i32 = 4;

fn adapter() -> anyhow::Result<Vec<u8>> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("legacy.wit", CONTRACT)?;
    let world = resolve.select_world(&[package], Some("adapter"))?;
    let mut module = wat::parse_str(ADAPTER)?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
    Ok(module)
}

fn adapt(module: &[u8]) -> Result<Vec<u8>, AbError> {
    if !wasmparser::Parser::is_core_wasm(module) {
        return Err(AbError::invalid("not a core module"));
    }
    let adapter = adapter().map_err(|error| AbError::new(AbStatus::Panic, format!("{error:#}")))?;
    ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(|encoder| encoder.adapter("alga", &adapter))
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| AbError::invalid(format!("{error:#}")))
}

/// The functions behind the imports of the adapter.
pub(crate) fn add(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut host = linker.instance("alga:legacy/host@1.0.0")?;
    for (name, level) in [("log-info", AbLogLevel::Info), ("log-error", AbLogLevel::Error)] {
        host.func_wrap(name, move |store, (message,): (Bytes,)| {
            Ok(store.data().shared.log(level, &String::from_utf8_lossy(&message))?)
        })?;
    }
    host_func(&mut host, "fetch", |shared, (request,): (Bytes,)| async move {
        let Some(http) = fetch_request(&request) else {
            return Ok(Err(BAD_REQUEST));
        };
        let mut call = HostRequest::new(AbOp::HttpFetch, AbVia::Compat);
        call.http = Some(http);
        Ok(match host_call(shared, call).await? {
            Ok(HostValue::Http(answer)) => Ok(fetch_response(&answer)),
            Ok(_) => Err(INTERNAL),
            Err(HostError::Invalid) => Err(BAD_REQUEST),
            Err(HostError::Denied | HostError::Limit | HostError::Quota) => Err(NOT_ALLOWED),
            Err(HostError::Transport | HostError::Timeout) => Err(TRANSPORT),
            Err(_) => Err(INTERNAL),
        })
    })
}

/// JSON of a guest; `None` when it is none, or more than any request and any answer needs.
fn parsed(bytes: &[u8]) -> Option<Value> {
    if is_too_much(bytes) {
        return None;
    }
    serde_json::from_slice(bytes).ok()
}

fn is_too_much(bytes: &[u8]) -> bool {
    let signs = bytes.iter().filter(|byte| matches!(byte, b'[' | b'{' | b',' | b':')).count();
    signs > MOST_SIGNS
}

fn fetch_request(bytes: &[u8]) -> Option<HttpCall> {
    let request = parsed(bytes)?;
    let method = request.get("method").and_then(Value::as_str).unwrap_or("GET");
    Some(HttpCall {
        method: method.to_owned(),
        url: request.get("url")?.as_str()?.to_owned(),
        headers: header_pairs(request.get("headers"))?,
        body: body(request.get("body_b64"))?,
    })
}

fn fetch_response(answer: &HttpAnswer) -> Bytes {
    let pairs = answer.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let response = json!({
        "status": answer.status,
        "headers": folded(pairs),
        "body_b64": BASE64.encode(&answer.body),
    });
    response.to_string().into()
}

/// Headers as an object; repeated names are joined, as HTTP allows.
fn folded<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Value {
    let mut object = Map::new();
    for (name, value) in pairs {
        match object.get_mut(name) {
            Some(Value::String(known)) => {
                known.push_str(", ");
                known.push_str(value);
            }
            _ => {
                object.insert(name.to_owned(), value.into());
            }
        }
    }
    Value::Object(object)
}

/// `None` when it is there but no object of strings.
fn header_pairs(headers: Option<&Value>) -> Option<Vec<(String, String)>> {
    match headers {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(Value::Object(object)) => object
            .iter()
            .map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
            .collect(),
        Some(_) => None,
    }
}

/// The outer `None`: there, but no base64.
#[allow(clippy::option_option)] // "no body" and "not understood" are different things
fn body(encoded: Option<&Value>) -> Option<Option<Bytes>> {
    match encoded {
        None | Some(Value::Null) => Some(None),
        Some(Value::String(text)) => Some(Some(BASE64.decode(text.trim()).ok()?.into())),
        Some(_) => None,
    }
}

/// The request as a legacy module expects it.
pub(crate) fn request_json(request: &ExecuteRequest) -> Bytes {
    let (context, http) = (&request.context, &request.http);
    let (path, query) = http.url.split_once('?').unwrap_or((&http.url, ""));
    let parameters: Map<String, Value> = form_urlencoded::parse(query.as_bytes())
        .map(|(name, value)| (name.into_owned(), value.into_owned().into()))
        .collect();
    let headers = http.headers.iter().map(|h| (h.name.as_str(), h.value.as_str()));
    let json = json!({
        "context": {
            "request_id": context.request_id,
            "tenant_id": context.tenant_id,
            "extension_id": context.extension_id,
            "install_id": context.install_id,
            "version_id": context.version_id,
        },
        "http": {
            "method": http.method,
            "path": path,
            "query": parameters,
            "headers": folded(headers),
            "body_b64": http.body.as_ref().map(|body| BASE64.encode(body)),
        },
    });
    json.to_string().into()
}

/// The answer of a legacy module; what is not JSON in its form is an opaque body. An error when it
/// may be in that form and is too long to be looked at: it must not become a success.
pub(crate) fn response(bytes: Bytes) -> wasmtime::Result<ExecuteResponse> {
    if bytes.trim_ascii_start().starts_with(b"{") && is_too_much(&bytes) {
        wasmtime::bail!("the answer is JSON of more than {MOST_SIGNS} values");
    }
    Ok(parse_response(&bytes).unwrap_or(ExecuteResponse {
        status: 200,
        headers: Vec::new(),
        body: Some(bytes),
    }))
}

fn parse_response(bytes: &[u8]) -> Option<ExecuteResponse> {
    let response = parsed(bytes)?;
    let status = response.get("status")?.as_u64()?;
    Some(ExecuteResponse {
        status: u16::try_from(status).ok()?,
        headers: header_pairs(response.get("headers"))?
            .into_iter()
            .map(|(name, value)| HttpHeader { name, value })
            .collect(),
        body: body(response.get("body_b64"))?,
    })
}

/// # Safety
/// As in the header.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ab_adapt_legacy(
    module: AbView,
    component: *mut AbOwned,
    error: *mut *mut AbError,
) -> AbStatus {
    // SAFETY: pointers are NULL or valid, promised by the caller.
    unsafe {
        guard(error, || {
            if component.is_null() {
                return Err(AbError::invalid("component is NULL"));
            }
            component.write(AbOwned::from_vec(adapt(module.bytes())?));
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{body, fetch_request, header_pairs, response};
    use bytes::Bytes;
    use serde_json::json;

    #[test]
    fn an_answer_that_is_no_json_is_an_opaque_body() {
        for text in ["hello", "{}", r#"{"status":"200"}"#, r#"{"status":70000}"#] {
            let answer = response(Bytes::from_static(text.as_bytes())).expect(text);
            assert_eq!((answer.status, answer.body), (200, Some(text.into())));
        }
    }

    #[test]
    fn no_body_and_an_empty_body_differ() {
        assert_eq!(body(None), Some(None));
        assert_eq!(body(Some(&json!(null))), Some(None));
        assert_eq!(body(Some(&json!(""))), Some(Some(Bytes::new())));
        assert_eq!(body(Some(&json!(" aGk= "))), Some(Some("hi".into())));
        assert_eq!(body(Some(&json!("***"))), None);
    }

    #[test]
    fn headers_are_an_object_of_strings_or_nothing() {
        assert_eq!(header_pairs(Some(&json!({"a": "1"}))), Some(vec![("a".into(), "1".into())]));
        assert_eq!(header_pairs(Some(&json!({"a": 1}))), None);
        assert_eq!(header_pairs(Some(&json!(["a"]))), None);
    }

    #[test]
    fn json_of_many_values_is_not_taken_apart() {
        let long = |values: usize| {
            let list = "0,".repeat(values);
            format!(r#"{{"url":"https://a.test/","status":201,"x":[{list}0]}}"#)
        };
        assert!(fetch_request(long(60_000).as_bytes()).is_some());
        assert!(fetch_request(long(70_000).as_bytes()).is_none());
        assert_eq!(response(long(60_000).into()).expect("is read").status, 201);
        let error = response(long(70_000).into()).expect_err("not a success").to_string();
        assert_eq!(error, "the answer is JSON of more than 65536 values");
        let table = Bytes::from("1,2\n".repeat(70_000));
        let opaque = response(table.clone()).expect("is no object");
        assert_eq!((opaque.status, opaque.body), (200, Some(table)));
        let body = "A".repeat(1 << 20);
        let large = format!(r#"{{"url":"https://a.test/","body_b64":"{body}"}}"#);
        assert!(fetch_request(large.as_bytes()).is_some(), "a body is one value");
    }

    #[test]
    fn a_fetch_needs_a_url() {
        assert!(fetch_request(br#"{"url":"https://a.test/"}"#).is_some());
        assert!(fetch_request(br#"{"method":"GET"}"#).is_none());
        assert!(fetch_request(b"nonsense").is_none());
    }
}
