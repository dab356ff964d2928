//! Everything that a guest can import, linked once per engine.

mod compat;
mod http_types;
pub mod types;
mod unoffered;
pub mod user_shapes;
mod v1;

use crate::guest::{Guest, Shared};
use std::future::Future;
use std::sync::Arc;
use wasmtime::component::{ComponentNamedList, Lift, Linker, LinkerInstance, Lower};
use wasmtime::{Engine, Result};

/// All imports except the unversioned `user`, whose shape depends on the guest.
pub fn linker(engine: &Engine) -> Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    http_types::add(&mut linker)?;
    v1::add(&mut linker)?;
    compat::add(&mut linker)?;
    unoffered::add(&mut linker)?;
    crate::legacy::add(&mut linker)?;
    Ok(linker)
}

/// Defines a function that waits for the host. It sees the shared part of the execution only: the
/// store is not borrowed while it waits.
pub fn host_func<P, R, F, Fut>(
    instance: &mut LinkerInstance<'_, Guest>,
    name: &str,
    function: F,
) -> Result<()>
where
    P: ComponentNamedList + Lift + Send + Sync + 'static,
    R: Lower + Send + Sync + 'static,
    (R,): ComponentNamedList + Lower,
    F: Fn(Arc<Shared>, P) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<R>> + Send + 'static,
{
    instance.func_wrap_async(name, move |store, params: P| {
        let future = function(store.data().shared.clone(), params);
        Box::new(async move { Ok((future.await?,)) })
    })
}
