//! What a component is made of, read without compiling it.

use crate::abi::{AbOwned, AbStatus, AbView};
use crate::error::{AbError, guard};
use crate::instances::Definitions;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use wasmparser::component_types::{
    ComponentDefinedType, ComponentEntityType, ComponentFuncTypeId, ComponentValType,
};
use wasmparser::types::TypesRef;
use wasmparser::{
    ComponentExternalKind, DataKind, KnownCustom, MemoryType, Operator, Parser, Payload,
    ProducersSectionReader, TableType, Validator, WasmFeatures,
};

/// Types nest as deep as their author likes; text stops here.
const MAX_TYPE_DEPTH: u32 = 32;
/// Longest text of one type.
const MAX_TYPE_TEXT: usize = 16 << 10;

/// What this library runs: the features of the engine, no more.
fn features() -> WasmFeatures {
    let mut features = WasmFeatures::default();
    features.remove(
        WasmFeatures::THREADS
            | WasmFeatures::MEMORY64
            | WasmFeatures::GC
            | WasmFeatures::FUNCTION_REFERENCES
            | WasmFeatures::EXCEPTIONS
            | WasmFeatures::CM_ASYNC,
    );
    features
}

/// Facts collected while walking over the bytes.
#[derive(Default)]
struct Facts {
    definitions: Definitions,
    imports: Vec<String>,
    exports: Vec<(String, ComponentExternalKind)>,
    memories: Vec<MemoryType>,
    tables: Vec<TableType>,
    core_modules: u64,
    data_bytes: u64,
    image_span: u64,
    producers: Vec<Value>,
    custom_sections: Vec<Value>,
}

fn invalid(error: impl std::fmt::Display) -> AbError {
    AbError::invalid(error)
}

impl Facts {
    fn read(wasm: &[u8]) -> Result<Facts, AbError> {
        let mut facts = Facts::default();
        let mut depth = 0_u32;
        for payload in Parser::new(0).parse_all(wasm) {
            let payload = payload.map_err(invalid)?;
            facts.definitions.note(&payload)?;
            match payload {
                Payload::ModuleSection { .. } => {
                    facts.core_modules += 1;
                    depth += 1;
                }
                Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ComponentImportSection(reader) if depth == 0 => {
                    for import in reader {
                        facts.imports.push(import.map_err(invalid)?.name.name.to_owned());
                    }
                }
                Payload::ComponentExportSection(reader) if depth == 0 => {
                    for export in reader {
                        let export = export.map_err(invalid)?;
                        facts.exports.push((export.name.name.to_owned(), export.kind));
                    }
                }
                Payload::MemorySection(reader) => {
                    for memory in reader {
                        facts.memories.push(memory.map_err(invalid)?);
                    }
                }
                Payload::TableSection(reader) => {
                    for table in reader {
                        facts.tables.push(table.map_err(invalid)?.ty);
                    }
                }
                Payload::DataSection(reader) => facts.data(reader)?,
                Payload::CustomSection(section) => {
                    let (name, size) = (section.name(), section.data().len());
                    facts.custom_sections.push(json!({ "name": name, "size": size }));
                    if let KnownCustom::Producers(reader) = section.as_known() {
                        facts.producers(reader);
                    }
                }
                _ => {}
            }
        }
        Ok(facts)
    }

    /// The image of a module spans from its first to its last initialised byte; one that is too
    /// sparse loses copy-on-write and is written byte by byte into every instance.
    fn data(&mut self, reader: wasmparser::DataSectionReader<'_>) -> Result<(), AbError> {
        let (mut low, mut high) = (u64::MAX, 0);
        for segment in reader {
            let segment = segment.map_err(invalid)?;
            let len = segment.data.len() as u64;
            self.data_bytes += len;
            if let DataKind::Active { offset_expr, .. } = segment.kind {
                let mut operators = offset_expr.get_operators_reader();
                if let Ok(Operator::I32Const { value }) = operators.read() {
                    let start = u64::from(value.cast_unsigned());
                    low = low.min(start);
                    high = high.max(start + len);
                }
            }
        }
        self.image_span = self.image_span.max(high.saturating_sub(low));
        Ok(())
    }

    fn producers(&mut self, reader: ProducersSectionReader<'_>) {
        // Informative only: a malformed section says nothing.
        for field in reader.into_iter().flatten() {
            for value in field.values.into_iter().flatten() {
                let (field, name, version) = (field.name, value.name, value.version);
                let entry = json!({ "field": field, "name": name, "version": version });
                if !self.producers.contains(&entry) {
                    self.producers.push(entry);
                }
            }
        }
    }
}

fn describe(wasm: &[u8]) -> Result<String, AbError> {
    let kind = if Parser::is_component(wasm) {
        "component"
    } else if Parser::is_core_wasm(wasm) {
        "module"
    } else {
        return Err(invalid("not a WebAssembly component or module"));
    };
    let types = Validator::new_with_features(features()).validate_all(wasm).map_err(invalid)?;
    let types = types.as_ref();
    let mut facts = Facts::read(wasm)?;
    let (imports, exports) = match kind {
        "component" => (component_imports(&facts, types), component_exports(&facts, types)),
        _ => module_names(wasm)?,
    };
    let needs = facts.definitions.needs()?;
    let memories: Vec<Value> = facts.memories.iter().map(memory).collect();
    let tables: Vec<Value> = facts.tables.iter().map(table).collect();
    if kind == "module" {
        facts.core_modules = 1;
    }
    let description = json!({
        "kind": kind,
        "size": wasm.len(),
        "imports": imports,
        "exports": exports,
        "memories": memories,
        "tables": tables,
        "core_modules": facts.core_modules,
        "core_instances": needs.instances,
        "instantiated_memories": needs.memories,
        "instantiated_tables": needs.tables,
        "data_bytes": facts.data_bytes,
        "image_span_bytes": facts.image_span,
        "producers": facts.producers,
        "custom_sections": facts.custom_sections,
    });
    Ok(description.to_string())
}

fn memory(memory: &MemoryType) -> Value {
    json!({
        "initial_pages": memory.initial,
        "maximum_pages": memory.maximum,
        "memory64": memory.memory64,
    })
}

fn table(table: &TableType) -> Value {
    json!({ "initial": table.initial, "maximum": table.maximum })
}

fn component_imports(facts: &Facts, types: TypesRef<'_>) -> Vec<Value> {
    let describe = |name: &String| {
        let entity = types.component_item_for_import(name).map(|item| item.ty);
        json!({ "name": name, "functions": functions(entity, types) })
    };
    facts.imports.iter().map(describe).collect()
}

/// The functions of an imported instance; a bare imported function appears under an empty name.
fn functions(entity: Option<ComponentEntityType>, types: TypesRef<'_>) -> Vec<Value> {
    match entity {
        Some(ComponentEntityType::Instance(id)) => {
            let exports = types[id].exports.iter();
            let function = |(name, item): (
                &String,
                &wasmparser::component_types::ComponentItem,
            )| {
                match item.ty {
                    ComponentEntityType::Func(id) => {
                        Some(json!({ "name": name, "type": func_text(id, types) }))
                    }
                    _ => None,
                }
            };
            exports.filter_map(function).collect()
        }
        Some(ComponentEntityType::Func(id)) => {
            vec![json!({ "name": "", "type": func_text(id, types) })]
        }
        _ => Vec::new(),
    }
}

fn component_exports(facts: &Facts, types: TypesRef<'_>) -> Vec<Value> {
    let describe = |(name, kind): &(String, ComponentExternalKind)| {
        let kind = match kind {
            ComponentExternalKind::Module => "module",
            ComponentExternalKind::Func => "func",
            ComponentExternalKind::Value => "value",
            ComponentExternalKind::Type => "type",
            ComponentExternalKind::Instance => "instance",
            ComponentExternalKind::Component => "component",
        };
        let text = match types.component_item_for_export(name).map(|item| item.ty) {
            Some(ComponentEntityType::Func(id)) => func_text(id, types),
            _ => String::new(),
        };
        json!({ "name": name, "kind": kind, "type": text })
    };
    facts.exports.iter().map(describe).collect()
}

/// Imports and exports of a core module: names only, grouped by module.
fn module_names(wasm: &[u8]) -> Result<(Vec<Value>, Vec<Value>), AbError> {
    let mut imports: Map<String, Value> = Map::new();
    let mut exports = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.map_err(invalid)? {
            Payload::ImportSection(reader) => {
                for import in reader.into_imports() {
                    let import = import.map_err(invalid)?;
                    let functions =
                        imports.entry(import.module).or_insert_with(|| Value::Array(Vec::new()));
                    if let Value::Array(list) = functions {
                        list.push(json!({ "name": import.name, "type": "" }));
                    }
                }
            }
            Payload::ExportSection(reader) => {
                for export in reader {
                    let export = export.map_err(invalid)?;
                    let kind = format!("{:?}", export.kind).to_lowercase();
                    exports.push(json!({ "name": export.name, "kind": kind, "type": "" }));
                }
            }
            _ => {}
        }
    }
    let named = |(name, functions)| json!({ "name": name, "functions": functions });
    Ok((imports.into_iter().map(named).collect(), exports))
}

fn func_text(id: ComponentFuncTypeId, types: TypesRef<'_>) -> String {
    let function = &types[id];
    let mut text = String::from(if function.async_ { "async func(" } else { "func(" });
    for (i, (name, ty)) in function.params.iter().enumerate() {
        let _ = write!(text, "{}{name}: ", if i == 0 { "" } else { ", " });
        val_text(&mut text, ty, types, 0);
    }
    text.push(')');
    if let Some(result) = &function.result {
        text.push_str(" -> ");
        val_text(&mut text, result, types, 0);
    }
    if text.len() > MAX_TYPE_TEXT {
        let end = (0..=MAX_TYPE_TEXT).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

fn val_text(text: &mut String, ty: &ComponentValType, types: TypesRef<'_>, depth: u32) {
    if depth > MAX_TYPE_DEPTH || text.len() > MAX_TYPE_TEXT {
        text.push('…');
        return;
    }
    match ty {
        ComponentValType::Primitive(primitive) => {
            let _ = write!(text, "{primitive}");
        }
        ComponentValType::Type(id) => defined_text(text, &types[*id], types, depth + 1),
    }
}

fn defined_text(text: &mut String, ty: &ComponentDefinedType, types: TypesRef<'_>, depth: u32) {
    let wrap = |text: &mut String, open: &str, inner: &[Option<&ComponentValType>]| {
        text.push_str(open);
        for (i, ty) in inner.iter().enumerate() {
            text.push_str(if i == 0 { "<" } else { ", " });
            match ty {
                Some(ty) => val_text(text, ty, types, depth),
                None => text.push('_'),
            }
        }
        text.push_str(if inner.is_empty() { "" } else { ">" });
    };
    match ty {
        ComponentDefinedType::Primitive(primitive) => {
            let _ = write!(text, "{primitive}");
        }
        ComponentDefinedType::Record(record) => {
            let fields = record.fields.iter().map(|(name, ty)| (name.as_str(), Some(ty)));
            braces(text, "record", fields, ": ", "", types, depth);
        }
        ComponentDefinedType::Variant(variant) => {
            let cases = variant.cases.iter().map(|(name, case)| (name.as_str(), case.ty.as_ref()));
            braces(text, "variant", cases, "(", ")", types, depth);
        }
        ComponentDefinedType::Enum(names) => {
            braces(text, "enum", names.iter().map(|n| (n.as_str(), None)), "", "", types, depth);
        }
        ComponentDefinedType::Flags(names) => {
            braces(text, "flags", names.iter().map(|n| (n.as_str(), None)), "", "", types, depth);
        }
        ComponentDefinedType::List { element, .. } => wrap(text, "list", &[Some(element)]),
        ComponentDefinedType::Option { ty, .. } => wrap(text, "option", &[Some(ty)]),
        ComponentDefinedType::Result { ok, err, .. } => match (ok, err) {
            (None, None) => text.push_str("result"),
            (ok, None) => wrap(text, "result", &[ok.as_ref()]),
            (ok, err) => wrap(text, "result", &[ok.as_ref(), err.as_ref()]),
        },
        ComponentDefinedType::Tuple(tuple) => {
            let inner: Vec<_> = tuple.types.iter().map(Some).collect();
            wrap(text, "tuple", &inner);
        }
        ComponentDefinedType::Own(_) => text.push_str("own<resource>"),
        ComponentDefinedType::Borrow(_) => text.push_str("borrow<resource>"),
        _ => text.push_str("<unsupported>"),
    }
}

fn braces<'a>(
    text: &mut String,
    keyword: &str,
    items: impl Iterator<Item = (&'a str, Option<&'a ComponentValType>)>,
    open: &str,
    close: &str,
    types: TypesRef<'_>,
    depth: u32,
) {
    let _ = write!(text, "{keyword} {{ ");
    for (i, (name, ty)) in items.enumerate() {
        let _ = write!(text, "{}{name}", if i == 0 { "" } else { ", " });
        if let Some(ty) = ty {
            text.push_str(open);
            val_text(text, ty, types, depth);
            text.push_str(close);
        }
    }
    text.push_str(" }");
}

/// # Safety
/// As in the header.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ab_describe(
    wasm: AbView,
    json: *mut AbOwned,
    error: *mut *mut AbError,
) -> AbStatus {
    // SAFETY: pointers are NULL or valid, promised by the caller.
    unsafe {
        guard(error, || {
            if json.is_null() {
                return Err(invalid("json is NULL"));
            }
            let text = describe(wasm.bytes())?;
            json.write(AbOwned::from_vec(text.into_bytes()));
            Ok(())
        })
    }
}
