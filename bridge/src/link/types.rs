//! Records of the guest contract that more than one interface uses. Order and names are the wire.

use crate::abi::{AbContext, AbPair, pairs};
use bytes::Bytes;
use std::mem::MaybeUninit;
use wasmtime::Result;
use wasmtime::component::__internal::{
    CanonicalAbiInfo, InstanceType, InterfaceType, LowerContext,
};
use wasmtime::component::{ComponentType, Lift, Lower};

#[derive(Clone, Debug, ComponentType, Lift, Lower)]
#[component(record)]
pub struct ContextData {
    #[component(name = "request-id")]
    pub request_id: Option<String>,
    #[component(name = "tenant-id")]
    pub tenant_id: String,
    #[component(name = "extension-id")]
    pub extension_id: String,
    #[component(name = "install-id")]
    pub install_id: Option<String>,
    #[component(name = "version-id")]
    pub version_id: Option<String>,
}

impl AbContext {
    /// # Safety
    /// All views are valid.
    pub unsafe fn to_record(self) -> ContextData {
        // SAFETY: promised by the caller.
        unsafe {
            let optional = |has: u8, text: crate::abi::AbStr| (has != 0).then(|| text.to_text());
            ContextData {
                request_id: optional(self.has_request_id, self.request_id),
                tenant_id: self.tenant_id.to_text(),
                extension_id: self.extension_id.to_text(),
                install_id: optional(self.has_install_id, self.install_id),
                version_id: optional(self.has_version_id, self.version_id),
            }
        }
    }
}

#[derive(Clone, Debug, ComponentType, Lift, Lower)]
#[component(record)]
pub struct HttpHeader {
    pub name: String,
    pub value: String,
}

impl HttpHeader {
    /// # Safety
    /// The array and its views are valid.
    pub unsafe fn list(data: *const AbPair, len: usize) -> Vec<HttpHeader> {
        // SAFETY: promised by the caller.
        headers(unsafe { pairs(data, len) })
    }
}

pub fn headers(pairs: Vec<(String, String)>) -> Vec<HttpHeader> {
    pairs.into_iter().map(|(name, value)| HttpHeader { name, value }).collect()
}

#[derive(Clone, Debug, ComponentType, Lift, Lower)]
#[component(record)]
pub struct HttpRequest {
    pub method: String,
    pub url: String,
    pub headers: Vec<HttpHeader>,
    pub body: Option<Bytes>,
}

#[derive(Clone, Debug, ComponentType, Lift, Lower)]
#[component(record)]
pub struct HttpResponse {
    pub status: u16,
    pub headers: Vec<HttpHeader>,
    pub body: Option<Bytes>,
}

#[derive(Clone, Debug, ComponentType, Lower)]
#[component(record)]
pub struct ExecuteRequest {
    pub context: ContextData,
    pub http: HttpRequest,
}

/// Same shape as [`HttpResponse`]; the answer of the handler.
pub type ExecuteResponse = HttpResponse;

/// Text of the host, lowered from where it lies: a secret is not copied on its way to the guest.
#[derive(Clone, Debug)]
pub struct Utf8(Bytes);

impl Utf8 {
    /// `None` unless the bytes are UTF-8.
    pub fn new(bytes: Bytes) -> Option<Utf8> {
        std::str::from_utf8(&bytes).is_ok().then_some(Utf8(bytes))
    }

    fn as_str(&self) -> &str {
        // SAFETY: checked in `new`, and the contract of ab_owned makes the bytes immutable.
        unsafe { std::str::from_utf8_unchecked(&self.0) }
    }
}

// SAFETY: every item is that of `str`.
unsafe impl ComponentType for Utf8 {
    type Lower = <str as ComponentType>::Lower;
    const ABI: CanonicalAbiInfo = <str as ComponentType>::ABI;

    fn typecheck(ty: &InterfaceType, types: &InstanceType<'_>) -> Result<()> {
        <str as ComponentType>::typecheck(ty, types)
    }
}

// SAFETY: delegates to `str`, whose representation it shares.
unsafe impl Lower for Utf8 {
    fn linear_lower_to_flat<T>(
        &self,
        cx: &mut LowerContext<'_, T>,
        ty: InterfaceType,
        dst: &mut MaybeUninit<Self::Lower>,
    ) -> Result<()> {
        self.as_str().linear_lower_to_flat(cx, ty, dst)
    }

    fn linear_lower_to_memory<T>(
        &self,
        cx: &mut LowerContext<'_, T>,
        ty: InterfaceType,
        offset: usize,
    ) -> Result<()> {
        self.as_str().linear_lower_to_memory(cx, ty, offset)
    }
}
