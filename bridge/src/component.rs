//! Loaded components: mapped, linked, counted.

use crate::abi::AbStatus;
use crate::engine::{AbEngine, EngineState};
use crate::error::{AbError, guard, is_of_the_machine, quiet};
use crate::guest::Guest;
use crate::legacy;
use crate::link::types::{ExecuteRequest, ExecuteResponse};
use crate::link::user_shapes;
use bytes::Bytes;
use std::os::fd::RawFd;
use std::sync::Arc;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Linker};

/// Unknown imports that an error names: each takes another attempt to link the whole component.
const MOST_NAMED: usize = 30;

/// The one function that a guest must export.
pub(crate) const HANDLER: &str = "handler";

/// Where a request goes in; the type behind each index was checked when the component was loaded.
pub(crate) enum Entry {
    Handler(ComponentExportIndex),
    /// A wrapped core module, see `legacy`.
    Legacy(ComponentExportIndex),
}

/// `ab_component`; C holds it as a counted reference.
pub struct AbComponent {
    pub(crate) pre: InstancePre<Guest>,
    pub(crate) entry: Entry,
    pub(crate) engine: Arc<EngineState>,
}

fn chain(error: &wasmtime::Error) -> String {
    format!("{error:#}")
}

/// Loads and links the artefact behind a descriptor.
///
/// # Safety
/// The bytes behind `fd` must have been made by [`crate::engine::ab_precompile`] and not change:
/// they are native code.
unsafe fn load(engine: &Arc<EngineState>, fd: RawFd) -> Result<AbComponent, AbError> {
    let running = engine
        .running
        .as_ref()
        .ok_or_else(|| AbError::invalid("this engine has no host and cannot run guests"))?;
    if fd < 0 {
        return Err(AbError::new(AbStatus::Io, format!("bad descriptor {fd}")));
    }
    // Wasmtime maps components by path only. This path names the open file itself, whatever became
    // of its directory entry, so that what the caller authenticated is what is mapped.
    let path = format!("/proc/self/fd/{fd}");
    if let Err(error) = std::fs::File::open(&path) {
        return Err(AbError::new(AbStatus::Io, format!("descriptor {fd}: {error}")));
    }
    let refused = |error: wasmtime::Error| {
        let machine = is_of_the_machine(&error);
        let status = if machine { AbStatus::Io } else { AbStatus::Incompatible };
        AbError::new(status, chain(&error))
    };
    // SAFETY: promised by the caller.
    let component =
        unsafe { Component::deserialize_file(&engine.engine, &path) }.map_err(refused)?;
    let mut linker = running.linker.clone();
    user_shapes::add(&mut linker, &component)
        .map_err(|error| AbError::new(AbStatus::Link, chain(&error)))?;
    let pre = linker
        .instantiate_pre(&component)
        .map_err(|error| AbError::new(AbStatus::Link, all_unknown(&linker, &component, error)))?;
    let entry = entry(&linker, &component)?;
    Ok(AbComponent { pre, entry, engine: engine.clone() })
}

fn entry(linker: &Linker<Guest>, component: &Component) -> Result<Entry, AbError> {
    let link_error = |text: String| AbError::new(AbStatus::Link, text);
    let legacy = component
        .get_export(None, legacy::GUEST)
        .and_then(|(_, guest)| component.get_export(Some(&guest), legacy::INVOKE));
    let (found, wrapped) = match component.get_export(None, HANDLER) {
        Some(handler) => (Some(handler), false),
        None => (legacy, true),
    };
    let Some((ComponentItem::ComponentFunc(function), index)) = found else {
        return Err(link_error(format!("the component exports no function `{HANDLER}`")));
    };
    let types =
        linker.substituted_component_type(component).map_err(|error| link_error(chain(&error)))?;
    let types = types.instance_type();
    let checked = match wrapped {
        false => function.typecheck::<(ExecuteRequest,), (ExecuteResponse,)>(&types),
        true => function.typecheck::<(Bytes,), (std::result::Result<Bytes, i32>,)>(&types),
    };
    checked.map_err(|error| link_error(format!("export `{HANDLER}`: {}", chain(&error))))?;
    Ok(if wrapped { Entry::Legacy(index) } else { Entry::Handler(index) })
}

/// Wasmtime stops at the first import that does not fit; this goes on and names each, of many the
/// first ones.
fn all_unknown(linker: &Linker<Guest>, component: &Component, first: wasmtime::Error) -> String {
    let mut linker = linker.clone();
    linker.allow_shadowing(true);
    let engine = component.engine();
    let component_type = component.component_type();
    let mut problems = vec![chain(&first)];
    let mut culprit = first.to_string();
    for _ in 0..component_type.imports(engine).len() {
        if problems.len() == MOST_NAMED {
            problems.push("and perhaps more".to_owned());
            break;
        }
        let import =
            component_type.imports(engine).find(|(name, _)| culprit.contains(&format!("`{name}`")));
        let Some((name, import)) = import else {
            break;
        };
        if stub(&mut linker, name, &import.ty).is_err() {
            break;
        }
        match linker.instantiate_pre(component) {
            Ok(_) => break,
            Err(next) if next.to_string() == culprit => break,
            Err(next) => {
                problems.push(chain(&next));
                culprit = next.to_string();
            }
        }
    }
    problems.join("; ")
}

/// Gives the linker something that fits the import, only to get on to the next one.
fn stub(linker: &mut Linker<Guest>, name: &str, item: &ComponentItem) -> wasmtime::Result<()> {
    let engine = linker.engine().clone();
    match item {
        ComponentItem::ComponentFunc(_) => {
            linker.root().func_new(name, |_, _, _, _| wasmtime::bail!("never called"))
        }
        ComponentItem::ComponentInstance(instance) => {
            let mut root = linker.root();
            let mut target = root.instance(name)?;
            for (export, item) in instance.exports(&engine) {
                match item.ty {
                    ComponentItem::ComponentFunc(_) => {
                        target.func_new(export, |_, _, _, _| wasmtime::bail!("never called"))?;
                    }
                    ComponentItem::Resource(_) => {
                        let ty = wasmtime::component::ResourceType::host::<()>();
                        target.resource(export, ty, |_, _| Ok(()))?;
                    }
                    _ => {}
                }
            }
            Ok(())
        }
        _ => wasmtime::bail!("this kind of import cannot be stood in for"),
    }
}

/// # Safety
/// As in the header: the bytes behind `fd` are authenticated native code.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ab_component_load_fd(
    engine: *mut AbEngine,
    fd: i32,
    out: *mut *mut AbComponent,
    error: *mut *mut AbError,
) -> AbStatus {
    // SAFETY: pointers are NULL or valid, and the artefact is trusted, promised by the caller.
    unsafe {
        guard(error, || {
            let engine = engine.as_ref().ok_or_else(|| AbError::invalid("engine is NULL"))?;
            if out.is_null() {
                return Err(AbError::invalid("out is NULL"));
            }
            let component = load(&engine.0, fd)?;
            out.write(Arc::into_raw(Arc::new(component)).cast_mut());
            Ok(())
        })
    }
}

/// # Safety
/// `component` is NULL or a reference that is held.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ab_component_retain(component: *mut AbComponent) {
    if !component.is_null() {
        // SAFETY: promised by the caller; the pointer came from Arc::into_raw.
        unsafe { Arc::increment_strong_count(component) };
    }
}

/// # Safety
/// `component` is NULL or a reference that is held, which is given up.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ab_component_release(component: *mut AbComponent) {
    if !component.is_null() {
        // SAFETY: promised by the caller; the pointer came from Arc::into_raw.
        quiet(|| drop(unsafe { Arc::from_raw(component) }));
    }
}

/// # Safety
/// `component` is NULL or a reference that is held.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ab_component_image_bytes(component: *const AbComponent) -> u64 {
    // SAFETY: promised by the caller.
    unsafe { component.as_ref() }.map_or(0, |component| {
        let range = component.pre.component().image_range();
        (range.end as usize - range.start as usize) as u64
    })
}
