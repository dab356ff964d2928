//! The unversioned `user.get-user`, whose record changed its fields six times while bundles were in
//! the field. The shape that a component was built against is read from its import, and the record
//! is built to measure.

use crate::abi::{AbOp, AbVia, HostError};
use crate::call::{HostRequest, HostValue, UserRecord};
use crate::guest::{Guest, host_call};
use crate::limits::Stop;
use wasmtime::Result;
use wasmtime::component::types::{ComponentItem, Type};
use wasmtime::component::{Component, Linker, Val};

/// The import that this module serves.
pub const INTERFACE: &str = "alga:extension/user";
const FUNCTION: &str = "get-user";

/// How one field of the record is filled.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    OptionalText,
    TextPairs,
}

type Shape = Vec<(String, Kind)>;

/// Adds `get-user` in the shape that `component` imports, if it imports it at all. An unknown shape
/// is left out, so that linking names the import.
pub fn add(linker: &mut Linker<Guest>, component: &Component) -> Result<()> {
    let Some(shape) = imported_shape(component) else {
        return Ok(());
    };
    let mut instance = linker.instance(INTERFACE)?;
    instance.func_new_async(FUNCTION, move |store, _, _, results| {
        let (shape, shared) = (shape.clone(), store.data().shared.clone());
        Box::new(async move {
            let request = HostRequest::new(AbOp::UserGet, AbVia::Compat);
            results[0] = match host_call(shared, request).await? {
                Ok(HostValue::User(user)) => Val::Result(Ok(Some(Box::new(record(&shape, &user))))),
                Ok(_) => return Err(Stop::Host("user: wrong kind of answer".to_owned()).into()),
                Err(HostError::Denied) => failure("not-allowed"),
                Err(_) => failure("not-available"),
            };
            Ok(())
        })
    })
}

fn failure(case: &str) -> Val {
    Val::Result(Err(Some(Box::new(Val::Enum(case.to_owned())))))
}

fn imported_shape(component: &Component) -> Option<Shape> {
    let engine = component.engine();
    let import = component.component_type().get_import(engine, INTERFACE)?.ty;
    let ComponentItem::ComponentInstance(instance) = import else {
        return None;
    };
    let ComponentItem::ComponentFunc(function) = instance.get_export(engine, FUNCTION)?.ty else {
        return None;
    };
    if function.params().len() != 0 {
        return None;
    }
    let Some(Type::Result(result)) = function.results().next() else {
        return None;
    };
    let Some(Type::Enum(error)) = result.err() else {
        return None;
    };
    if !error.names().eq(["not-available", "not-allowed"]) {
        return None;
    }
    let Some(Type::Record(record)) = result.ok() else {
        return None;
    };
    record
        .fields()
        .map(|field| Some((field.name.to_owned(), kind(field.name, &field.ty)?)))
        .collect()
}

fn kind(name: &str, ty: &Type) -> Option<Kind> {
    let kind = match ty {
        Type::String => Kind::Text,
        Type::Option(option) if option.ty() == Type::String => Kind::OptionalText,
        Type::List(list) => match list.ty() {
            Type::Tuple(pair) if pair.types().eq([Type::String, Type::String]) => Kind::TextPairs,
            _ => return None,
        },
        _ => return None,
    };
    let known = match name {
        "tenant-id" | "client-name" | "company-name" | "user-id" | "user-email" | "user-name"
        | "user-type" | "client-id" => kind != Kind::TextPairs,
        "additional-fields" => kind == Kind::TextPairs,
        _ => false,
    };
    known.then_some(kind)
}

fn record(shape: &Shape, user: &UserRecord) -> Val {
    let text = |name: &str| match name {
        "tenant-id" => Some(&user.tenant_id),
        "client-name" | "company-name" => Some(&user.client_name),
        "user-id" => Some(&user.user_id),
        "user-email" => Some(&user.user_email),
        "user-name" => Some(&user.user_name),
        "user-type" => Some(&user.user_type),
        _ => user.client_id.as_ref(),
    };
    let string = |text: &String| Val::String(text.clone());
    let fields = shape.iter().map(|(name, kind)| {
        let value = match kind {
            Kind::Text => Val::String(text(name).cloned().unwrap_or_default()),
            Kind::OptionalText => Val::Option(text(name).map(|text| Box::new(string(text)))),
            Kind::TextPairs => {
                let pair = |(name, value)| Val::Tuple(vec![string(name), string(value)]);
                let pairs = user.additional.iter().map(|(name, value)| (name, value));
                Val::List(pairs.map(pair).collect())
            }
        };
        (name.clone(), value)
    });
    Val::Record(fields.collect())
}
