//! Interfaces of the reference system that this product does not offer: they link, every call is
//! answered with the interface's own denial in the reference's words, and the host is told.

use crate::guest::{Guest, unoffered};
use wasmtime::Result;
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentNamedList, ComponentType, Lift, Linker, LinkerInstance, Lower};

const SCHEDULER_DENIED: &str = "Permission denied: cap:scheduler.manage not granted";
const INVOICING_DENIED: &str = "Permission denied: cap:invoice.manual.create not granted";

#[derive(Clone, Copy, ComponentType, Lower)]
#[component(enum)]
#[repr(u8)]
#[allow(dead_code)] // the shape is the contract
enum SchedulerError {
    #[component(name = "not-found")]
    NotFound,
    #[component(name = "validation-failed")]
    ValidationFailed,
    #[component(name = "quota-exceeded")]
    QuotaExceeded,
    #[component(name = "denied")]
    Denied,
    #[component(name = "internal")]
    Internal,
}

/// `client-read-error` and `service-read-error`.
#[derive(Clone, Copy, ComponentType, Lower)]
#[component(enum)]
#[repr(u8)]
#[allow(dead_code)] // the shape is the contract
enum ReadError {
    #[component(name = "not-allowed")]
    NotAllowed,
    #[component(name = "invalid-input")]
    InvalidInput,
    #[component(name = "internal")]
    Internal,
}

macro_rules! records {
    ($direction:ident => $($name:ident { $($field:ident $wire:literal: $type:ty,)* })*) => {
        $(
            #[derive(ComponentType, $direction)]
            #[component(record)]
            #[allow(dead_code)] // read by the guest, or only lifted and thrown away
            struct $name { $(#[component(name = $wire)] $field: $type,)* }
        )*
    };
}

type Text = Option<String>;

records! { Lower =>
    ScheduleInfo {
        id "id": String,
        endpoint_path "endpoint-path": String,
        endpoint_method "endpoint-method": String,
        name "name": Text,
        cron "cron": String,
        timezone "timezone": String,
        enabled "enabled": bool,
        payload "payload": Text,
        last_run_at "last-run-at": Text,
        last_run_status "last-run-status": Text,
        last_error "last-error": Text,
        created_at "created-at": Text,
    }
    EndpointInfo {
        id "id": String,
        method "method": String,
        path "path": String,
        handler "handler": String,
        schedulable "schedulable": bool,
    }
    CreateScheduleResult {
        success "success": bool,
        schedule_id "schedule-id": Text,
        error "error": Text,
        field_errors "field-errors": Text,
    }
    UpdateScheduleResult {
        success "success": bool,
        error "error": Text,
        field_errors "field-errors": Text,
    }
    DeleteScheduleResult {
        success "success": bool,
        error "error": Text,
    }
    CreateInvoiceResult {
        success "success": bool,
        invoice_id "invoice-id": Text,
        invoice_number "invoice-number": Text,
        status "status": Text,
        subtotal "subtotal": Option<f64>,
        tax "tax": Option<f64>,
        total "total": Option<f64>,
        error "error": Text,
        field_errors "field-errors": Text,
    }
    ClientSummary {
        client_id "client-id": String,
        client_name "client-name": String,
        client_type "client-type": Text,
        is_inactive "is-inactive": bool,
        default_currency_code "default-currency-code": Text,
        account_manager_id "account-manager-id": Text,
        account_manager_name "account-manager-name": Text,
        billing_email "billing-email": Text,
    }
    ClientsListResult {
        items "items": Vec<ClientSummary>,
        total_count "total-count": u32,
        page "page": u32,
        page_size "page-size": u32,
    }
    ServiceSummary {
        service_id "service-id": String,
        service_name "service-name": String,
        item_kind "item-kind": ItemKind,
        billing_method "billing-method": BillingMethod,
        service_type_id "service-type-id": Text,
        service_type_name "service-type-name": Text,
        default_rate "default-rate": f64,
        unit_of_measure "unit-of-measure": String,
        is_active "is-active": bool,
        sku "sku": Text,
    }
    ServicesListResult {
        items "items": Vec<ServiceSummary>,
        total_count "total-count": u32,
        page "page": u32,
        page_size "page-size": u32,
    }
}

records! { Lift =>
    CreateScheduleInput {
        endpoint "endpoint": String,
        cron "cron": String,
        timezone "timezone": Text,
        enabled "enabled": Option<bool>,
        name "name": Text,
        payload "payload": Text,
    }
    UpdateScheduleInput {
        endpoint "endpoint": Text,
        cron "cron": Text,
        timezone "timezone": Text,
        enabled "enabled": Option<bool>,
        name "name": Text,
        payload "payload": Text,
    }
    InvoiceItem {
        service_id "service-id": String,
        quantity "quantity": f64,
        description "description": String,
        rate "rate": f64,
        is_discount "is-discount": Option<bool>,
        discount_type "discount-type": Option<DiscountType>,
        applies_to_item_id "applies-to-item-id": Text,
        applies_to_service_id "applies-to-service-id": Text,
    }
    CreateInvoiceInput {
        client_id "client-id": String,
        items "items": Vec<InvoiceItem>,
        invoice_date "invoice-date": Text,
        due_date "due-date": Text,
        po_number "po-number": Text,
    }
    ClientsListInput {
        search "search": Text,
        include_inactive "include-inactive": Option<bool>,
        page "page": Option<u32>,
        page_size "page-size": Option<u32>,
    }
    ServicesListInput {
        search "search": Text,
        item_kind "item-kind": Option<ItemKind>,
        is_active "is-active": Option<bool>,
        billing_method "billing-method": Option<BillingMethod>,
        page "page": Option<u32>,
        page_size "page-size": Option<u32>,
    }
}

#[derive(Clone, Copy, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[allow(dead_code)] // the shape is the contract
enum DiscountType {
    #[component(name = "percentage")]
    Percentage,
    #[component(name = "fixed")]
    Fixed,
}

#[derive(Clone, Copy, ComponentType, Lift, Lower)]
#[component(enum)]
#[repr(u8)]
#[allow(dead_code)] // the shape is the contract
enum ItemKind {
    #[component(name = "service")]
    Service,
    #[component(name = "product")]
    Product,
}

#[derive(Clone, Copy, ComponentType, Lift, Lower)]
#[component(enum)]
#[repr(u8)]
#[allow(dead_code)] // the shape is the contract
enum BillingMethod {
    #[component(name = "fixed")]
    Fixed,
    #[component(name = "hourly")]
    Hourly,
    #[component(name = "usage")]
    Usage,
}

/// Defines `name` as a function that tells the host and answers with `answer()`.
fn refuse<P, R>(
    instance: &mut LinkerInstance<'_, Guest>,
    interface: &str,
    name: &str,
    answer: fn() -> R,
) -> Result<()>
where
    P: ComponentNamedList + Lift + 'static,
    R: 'static,
    (R,): ComponentNamedList + Lower,
{
    let key = format!("{interface}#{name}");
    instance.func_wrap(name, move |store: StoreContextMut<'_, Guest>, _: P| {
        unoffered(&store.data().shared, &key)?;
        Ok((answer(),))
    })
}

pub fn add(linker: &mut Linker<Guest>) -> Result<()> {
    scheduler(linker)?;
    const INVOICING: &str = "alga:extension/invoicing";
    let mut invoicing = linker.instance(INVOICING)?;
    let create = "create-manual-invoice";
    refuse::<(CreateInvoiceInput,), _>(&mut invoicing, INVOICING, create, || {
        CreateInvoiceResult {
            success: false,
            invoice_id: None,
            invoice_number: None,
            status: None,
            subtotal: None,
            tax: None,
            total: None,
            error: Some(INVOICING_DENIED.to_owned()),
            field_errors: None,
        }
    })?;
    directory(linker)
}

fn scheduler(linker: &mut Linker<Guest>) -> Result<()> {
    const NAME: &str = "alga:extension/scheduler";
    type Reply<T> = std::result::Result<T, SchedulerError>;
    let mut scheduler = linker.instance(NAME)?;
    refuse::<(), Reply<Vec<ScheduleInfo>>>(&mut scheduler, NAME, "list-schedules", || {
        Err(SchedulerError::Denied)
    })?;
    refuse::<(String,), Reply<Option<ScheduleInfo>>>(&mut scheduler, NAME, "get-schedule", || {
        Err(SchedulerError::Denied)
    })?;
    refuse::<(), Reply<Vec<EndpointInfo>>>(&mut scheduler, NAME, "get-endpoints", || {
        Err(SchedulerError::Denied)
    })?;
    refuse::<(CreateScheduleInput,), _>(&mut scheduler, NAME, "create-schedule", || {
        CreateScheduleResult {
            success: false,
            schedule_id: None,
            error: Some(SCHEDULER_DENIED.to_owned()),
            field_errors: None,
        }
    })?;
    let update = "update-schedule";
    refuse::<(String, UpdateScheduleInput), _>(&mut scheduler, NAME, update, || {
        UpdateScheduleResult {
            success: false,
            error: Some(SCHEDULER_DENIED.to_owned()),
            field_errors: None,
        }
    })?;
    refuse::<(String,), _>(&mut scheduler, NAME, "delete-schedule", || DeleteScheduleResult {
        success: false,
        error: Some(SCHEDULER_DENIED.to_owned()),
    })
}

fn directory(linker: &mut Linker<Guest>) -> Result<()> {
    const CLIENTS: &str = "alga:extension/clients";
    const SERVICES: &str = "alga:extension/services";
    type Reply<T> = std::result::Result<T, ReadError>;
    let mut clients = linker.instance(CLIENTS)?;
    refuse::<(ClientsListInput,), Reply<ClientsListResult>>(
        &mut clients,
        CLIENTS,
        "list-clients",
        || Err(ReadError::NotAllowed),
    )?;
    refuse::<(String,), Reply<Option<ClientSummary>>>(&mut clients, CLIENTS, "get-client", || {
        Err(ReadError::NotAllowed)
    })?;
    let mut services = linker.instance(SERVICES)?;
    refuse::<(ServicesListInput,), Reply<ServicesListResult>>(
        &mut services,
        SERVICES,
        "list-services",
        || Err(ReadError::NotAllowed),
    )?;
    refuse::<(String,), Reply<Option<ServiceSummary>>>(
        &mut services,
        SERVICES,
        "get-service",
        || Err(ReadError::NotAllowed),
    )
}
