//! The functions of `wasi:http/types` by which a guest leaves bytes with the host. Wasmtime bounds
//! the fields of one resource, and neither its method, path and authority nor the number of resources
//! but by that of all handles. Here all of them count together, and too much ends the execution.

use crate::guest::Guest;
use crate::wasi_http::BodyStream;
use wasmtime::component::{ComponentNamedList, Lift, Linker, LinkerInstance, Lower, Resource};
use wasmtime::{Result, StoreContextMut};
use wasmtime_wasi::p2::DynOutputStream;
use wasmtime_wasi_http::p2::HeaderResult;
use wasmtime_wasi_http::p2::bindings::http::types::{
    HeaderError, Host as _, HostFields, HostOutgoingRequest as _, Method,
};
use wasmtime_wasi_http::p2::body::HostOutgoingBody;
use wasmtime_wasi_http::p2::types::HostOutgoingRequest;
use wasmtime_wasi_http::{FieldMap, WasiHttpCtxView, WasiHttpView};

/// As the crate that defines it names the interface.
const INTERFACE: &str = "wasi:http/types@0.2.12";

/// What a field takes beyond its bytes, as Wasmtime's own limit counts it.
const FIELD: usize = size_of::<http::HeaderName>() + size_of::<http::HeaderValue>();

type Plain = std::result::Result<(), ()>;
type Request = Resource<HostOutgoingRequest>;
type Fields = Resource<FieldMap>;

/// Defines `name` anew: what `weigh` says counts, and then the view does as it always did.
fn counted<P, R>(
    types: &mut LinkerInstance<'_, Guest>,
    name: &str,
    weigh: fn(&P) -> usize,
    act: fn(&mut WasiHttpCtxView<'_>, P) -> Result<R>,
) -> Result<()>
where
    P: ComponentNamedList + Lift + 'static,
    R: 'static,
    (R,): ComponentNamedList + Lower,
{
    types.func_wrap(name, move |mut store: StoreContextMut<'_, Guest>, params: P| {
        let guest = store.data_mut();
        guest.hooks.hand_over(weigh(&params))?;
        Ok((act(&mut guest.http(), params)?,))
    })
}

fn header<T>(
    view: &mut WasiHttpCtxView<'_>,
    result: HeaderResult<T>,
) -> Result<std::result::Result<T, HeaderError>> {
    Ok(match result {
        Ok(value) => Ok(value),
        Err(error) => Err(view.convert_header_error(error)?),
    })
}

fn length(text: &Option<String>) -> usize {
    text.as_ref().map_or(0, String::len)
}

/// Redefines what `wasmtime_wasi_http` has defined.
pub fn add(linker: &mut Linker<Guest>) -> Result<()> {
    linker.allow_shadowing(true);
    let mut types = linker.instance(INTERFACE)?;
    fields(&mut types)?;
    request(&mut types)?;
    body(&mut types)?;
    linker.allow_shadowing(false);
    Ok(())
}

fn fields(types: &mut LinkerInstance<'_, Guest>) -> Result<()> {
    type Entries = Vec<(String, Vec<u8>)>;
    counted(
        types,
        "[static]fields.from-list",
        |(entries,): &(Entries,)| {
            entries.iter().map(|(name, value)| name.len() + value.len() + FIELD).sum()
        },
        |view, (entries,)| {
            let made = view.from_list(entries);
            header(view, made)
        },
    )?;
    counted(
        types,
        "[method]fields.set",
        |(_, name, values): &(Fields, String, Vec<Vec<u8>>)| {
            name.len() + values.iter().map(|value| value.len() + FIELD).sum::<usize>()
        },
        |view, (fields, name, values)| {
            let set = view.set(fields, name, values);
            header(view, set)
        },
    )?;
    counted(
        types,
        "[method]fields.append",
        |(_, name, value): &(Fields, String, Vec<u8>)| name.len() + value.len() + FIELD,
        |view, (fields, name, value)| {
            let appended = view.append(fields, name, value);
            header(view, appended)
        },
    )?;
    // A clone becomes a copy when either is changed.
    types.func_wrap(
        "[method]fields.clone",
        |mut store: StoreContextMut<'_, Guest>, (fields,): (Fields,)| {
            let guest = store.data_mut();
            let map = guest.table.get(&fields)?;
            let size = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
                name.as_str().len() + value.len() + FIELD
            };
            let bytes = map.iter().map(size).sum();
            guest.hooks.hand_over(bytes)?;
            Ok((HostFields::clone(&mut guest.http(), fields)?,))
        },
    )
}

fn request(types: &mut LinkerInstance<'_, Guest>) -> Result<()> {
    counted::<(Request, Method), Plain>(
        types,
        "[method]outgoing-request.set-method",
        |(_, method)| match method {
            Method::Other(name) => name.len(),
            _ => 0,
        },
        |view, (request, method)| view.set_method(request, method),
    )?;
    counted::<(Request, Option<String>), Plain>(
        types,
        "[method]outgoing-request.set-path-with-query",
        |(_, path)| length(path),
        |view, (request, path)| view.set_path_with_query(request, path),
    )?;
    counted::<(Request, Option<String>), Plain>(
        types,
        "[method]outgoing-request.set-authority",
        |(_, authority)| length(authority),
        |view, (request, authority)| view.set_authority(request, authority),
    )
}

fn body(types: &mut LinkerInstance<'_, Guest>) -> Result<()> {
    types.func_wrap(
        "[method]outgoing-body.write",
        |mut store: StoreContextMut<'_, Guest>, (body,): (Resource<HostOutgoingBody>,)| {
            let guest = store.data_mut();
            let Some(inner) = guest.table.get_mut(&body)?.take_output_stream() else {
                return Ok((Err(()),));
            };
            let (shared, limit) = (guest.shared.clone(), guest.hooks.limit);
            let stream: DynOutputStream = Box::new(BodyStream { inner, shared, limit });
            Ok((Ok::<_, ()>(guest.table.push_child(stream, &body)?),))
        },
    )
}
