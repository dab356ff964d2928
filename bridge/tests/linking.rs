//! What links, what does not, and what a component says about itself.

mod host;

use alga_bridge::abi::*;
use alga_bridge::call::ab_call_ok_user;
use alga_bridge::describe::ab_describe;
use alga_bridge::error::AbError;
use host::guests::{COMPAT, ECHO, V1, guest, guest_of, plain, repository};
use host::{Engine, Run, take_error, take_owned};
use serde_json::{Value, json};

fn describe(wasm: &[u8]) -> Result<Value, (AbStatus, String)> {
    let (mut json, mut error) = (AbOwned::EMPTY, std::ptr::null_mut::<AbError>());
    match unsafe { ab_describe(wasm.into(), &mut json, &mut error) } {
        AbStatus::Ok => Ok(serde_json::from_slice(&take_owned(json)).expect("JSON")),
        _ => Err(take_error(error)),
    }
}

#[test]
fn every_unknown_import_is_named() {
    let engine = Engine::new();
    let fields = r#"(import "wasi:made-up/telepathy@9.0.0" "read-mind" (func $read (param i32)))
        (import "wasi:made-up/levitation@9.0.0" "rise" (func $rise (param i32)))
        (import "alga:extension/logging@1.0.0" "log" (func $log (param i32 i32 i32)))"#;
    let imports = [
        "wasi:made-up/telepathy@9.0.0",
        "wasi:made-up/levitation@9.0.0",
        "alga:extension/logging@1.0.0",
    ];
    let wasm = guest(
        V1,
        &imports,
        fields,
        "(call $read (i32.const 0)) (call $rise (i32.const 0)) (call $log (i32.const 0) (i32.const 0) (i32.const 0)) unreachable",
    );
    let (status, message) = engine.try_load(&wasm).err().expect("must not link");
    assert_eq!(status, AbStatus::Link);
    assert!(message.contains("wasi:made-up/telepathy@9.0.0"), "{message}");
    assert!(message.contains("wasi:made-up/levitation@9.0.0"), "{message}");
    assert!(!message.contains("logging"), "{message}");
}

#[test]
fn of_very_many_unknown_imports_the_first_are_named() {
    let engine = Engine::new();
    let imports: String = (0..2000).map(|i| format!("(import \"made-up{i}\" (func))")).collect();
    let wasm = wat::parse_str(format!("(component {imports})")).unwrap();
    let (status, message) = engine.try_load(&wasm).err().expect("must not link");
    assert_eq!(status, AbStatus::Link);
    assert!(message.contains("made-up29`") && !message.contains("made-up30`"), "{message}");
    assert!(message.ends_with("and perhaps more"), "{message}");
}

#[test]
fn an_import_of_another_shape_is_refused() {
    let engine = Engine::new();
    let contract = std::fs::read_to_string(repository().join("wit/extension-runner.wit")).unwrap();
    let changed = contract
        .replace("log: func(level: log-level, message: string);", "log: func(message: string);");
    assert_ne!(contract, changed);
    let fields = r#"(import "alga:extension/logging@1.0.0" "log" (func $log (param i32 i32)))"#;
    let wasm = guest_of(
        &changed,
        V1,
        &["alga:extension/logging@1.0.0"],
        fields,
        "(call $log (i32.const 0) (i32.const 0)) unreachable",
    );
    let (status, message) = engine.try_load(&wasm).err().expect("must not link");
    assert_eq!(status, AbStatus::Link);
    assert!(message.contains("alga:extension/logging@1.0.0"), "{message}");
}

#[test]
fn a_handler_of_another_shape_is_refused() {
    let engine = Engine::new();
    let contract = std::fs::read_to_string(repository().join("wit/extension-runner.wit")).unwrap();
    let changed = contract.replace(
        "record execute-response {\n    status: u16,",
        "record execute-response {\n    status: u32,",
    );
    assert_ne!(contract, changed);
    let wasm = guest_of(&changed, V1, &[], "", "unreachable");
    let (status, message) = engine.try_load(&wasm).err().expect("must not link");
    assert_eq!(status, AbStatus::Link);
    assert!(message.contains("handler"), "{message}");
}

#[test]
fn guests_of_the_unversioned_package_run() {
    let engine = Engine::new();
    let ended = Run::get("/").body(b"old").finish(&engine.load(&guest(COMPAT, &[], "", ECHO)));
    assert_eq!(ended.body.as_deref(), Some(&b"old"[..]));
}

/// Calls `user.get-user` of the unversioned package in the given shape and answers with the bytes of
/// the record that lies behind the result's tag.
fn user_guest(record: &str, offset_of_field: u32) -> Vec<u8> {
    let contract =
        std::fs::read_to_string(repository().join("wit/compat/extension-runner.wit")).unwrap();
    let start = contract.find("record user-data {").unwrap();
    let end = start + contract[start..].find('}').unwrap() + 1;
    let contract =
        format!("{}record user-data {{ {record} }}{}", &contract[..start], &contract[end..]);
    let fields = r#"(import "alga:extension/user" "get-user" (func $user (param i32)))"#;
    let (address, length) = (512 + 4 + offset_of_field, 512 + 8 + offset_of_field);
    let body = format!(
        "(call $user (i32.const 512))
        (if (i32.load8_u (i32.const 512)) (then (return (call $answer (i32.const 403) (i32.const 0) (i32.const 0)))))
        (call $answer (i32.const 200) (i32.load (i32.const {address})) (i32.load (i32.const {length})))"
    );
    guest_of(&contract, COMPAT, &["alga:extension/user"], fields, &body)
}

fn some_user(_: &AbHostRequest, call: *mut alga_bridge::call::AbCall) -> i32 {
    let user = AbUser {
        tenant_id: "the tenant".into(),
        client_name: "the client".into(),
        user_id: "the id".into(),
        user_email: "the address".into(),
        user_name: "the name".into(),
        user_type: "internal".into(),
        client_id: "the client id".into(),
        has_client_id: 1,
        additional: std::ptr::null(),
        n_additional: 0,
    };
    unsafe { ab_call_ok_user(call, &user) };
    0
}

#[test]
fn every_historic_shape_of_the_user_links_and_is_filled() {
    let engine = Engine::new();
    const FIVE: &str = "tenant-id: string, company-name: string, user-id: string, user-email: string, user-name: string";
    const SIX: &str = "tenant-id: string, client-name: string, user-id: string, user-email: string, user-name: string, user-type: string";
    let seven = format!("{SIX}, client-id: option<string>");
    let reordered =
        "user-type: string, client-name: option<string>, client-id: string, tenant-id: string";
    for (shape, offset, expected) in [
        (FIVE, 8, "the client"),
        (FIVE, 32, "the name"),
        (SIX, 8, "the client"),
        (SIX, 40, "internal"),
        (&seven, 52, "the client id"),
        (reordered, 12, "the client"),
        (reordered, 28, "the tenant"),
    ] {
        let component = engine.load(&user_guest(shape, offset));
        let ended = Run::get("/").on_call(some_user).finish(&component);
        let body = String::from_utf8(ended.body.clone().unwrap_or_default()).unwrap();
        assert_eq!(body, expected, "{shape} at {offset}: {ended:?}");
        assert_eq!(Run::get("/").finish(&component).status, 403, "and a refusal reaches it");
    }
}

#[test]
fn an_unknown_field_of_the_user_does_not_link() {
    let engine = Engine::new();
    let wasm = user_guest("tenant-id: string, shoe-size: string", 0);
    let (status, message) = engine.try_load(&wasm).err().expect("must not link");
    assert_eq!(status, AbStatus::Link);
    assert!(message.contains("alga:extension/user"), "{message}");
}

#[test]
fn another_patch_of_wasi_links() {
    let engine = Engine::new();
    let fields =
        r#"(import "wasi:random/random@0.2.3" "get-random-bytes" (func $random (param i64 i32)))"#;
    let body = "(call $random (i64.const 1) (i32.const 16)) unreachable";
    let wasm = guest(V1, &["wasi:random/random@0.2.3"], fields, body);
    for patch in ["0.2.0", "0.2.9"] {
        let name = b"wasi:random/random@0.2.3";
        let mut renamed = wasm.clone();
        let places: Vec<usize> =
            (0..wasm.len() - name.len()).filter(|&i| &wasm[i..i + name.len()] == name).collect();
        for at in places {
            renamed[at + name.len() - 5..at + name.len()].copy_from_slice(patch.as_bytes());
        }
        engine.load(&renamed);
    }
}

#[test]
fn a_description_names_imports_exports_and_sizes() {
    let fields = r#"(import "alga:extension/storage@1.0.0" "delete" (func $delete (param i32 i32 i32 i32 i32 i64 i32)))
        (table 7 9 funcref) (data (i32.const 100) "abc") (data (i32.const 1000) "d")"#;
    let body = "(call $delete (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i64.const 0) (i32.const 0)) unreachable";
    let wasm = guest(V1, &["alga:extension/storage@1.0.0"], fields, body);
    let description = describe(&wasm).expect("a component");
    assert_eq!(description["kind"], "component");
    assert_eq!(description["size"], wasm.len());
    let storage = description["imports"]
        .as_array()
        .unwrap()
        .iter()
        .find(|i| i["name"] == "alga:extension/storage@1.0.0")
        .expect("named");
    assert_eq!(
        storage["functions"],
        json!([{"name": "delete", "type": "func(namespace: string, key: string, condition: variant { always, create-only, revision(u64) }) -> result<_, enum { missing, conflict, denied, invalid, quota, internal }>"}])
    );
    let handler = description["exports"]
        .as_array()
        .unwrap()
        .iter()
        .find(|e| e["name"] == "handler")
        .expect("exported");
    assert_eq!(handler["kind"], "func");
    let text = handler["type"].as_str().unwrap();
    assert!(
        text.starts_with("func(request: record { context: record { request-id: option<string>"),
        "{text}"
    );
    assert!(text.ends_with("-> record { status: u16, headers: list<record { name: string, value: string }>, body: option<list<u8>> }"), "{text}");
    assert_eq!(
        description["memories"],
        json!([{"initial_pages": 2, "maximum_pages": null, "memory64": false}])
    );
    assert!(
        description["tables"].as_array().unwrap().contains(&json!({"initial": 7, "maximum": 9}))
    );
    assert_eq!(
        (&description["data_bytes"], &description["image_span_bytes"]),
        (&json!(4), &json!(901))
    );
    assert!(description["core_modules"].as_u64().unwrap() >= 1);
    assert!(description["core_instances"].as_u64().unwrap() >= 1);
    assert!(!description["producers"].as_array().unwrap().is_empty());
}

#[test]
fn memories_and_tables_of_a_module_are_counted() {
    let module = wat::parse_str("(module (memory 1) (table 1 funcref))").unwrap();
    let description = describe(&module).expect("a module");
    assert_eq!(description["instantiated_memories"], 1);
    assert_eq!(description["instantiated_tables"], 1);
}

/// Core instances, memories and tables that instantiating takes.
fn taken(text: &str) -> (u64, u64, u64) {
    let description = describe(&wat::parse_str(text).expect(text)).expect("a component");
    let number = |name: &str| description[name].as_u64().expect("a number");
    (number("core_instances"), number("instantiated_memories"), number("instantiated_tables"))
}

#[test]
fn what_is_defined_and_never_instantiated_takes_nothing() {
    assert_eq!(taken("(component (core module (memory 1)))"), (0, 0, 0));
    let nested =
        "(component (component (core module $m (memory 1)) (core instance (instantiate $m))))";
    assert_eq!(taken(nested), (0, 0, 0));
}

#[test]
fn a_nested_component_counts_as_often_as_it_is_instantiated() {
    let text = |instances: &str| {
        format!(
            "(component
               (component $inner
                 (core module $m (memory 1) (table 1 funcref) (table 2 funcref))
                 (core instance (instantiate $m)) (core instance (instantiate $m)))
               (component $outer
                 (alias outer 1 0 (component $inner))
                 (instance (instantiate $inner)) (instance (instantiate $inner)))
               {instances})"
        )
    };
    assert_eq!(taken(&text("")), (0, 0, 0));
    assert_eq!(taken(&text("(instance (instantiate $inner))")), (2, 2, 4));
    assert_eq!(taken(&text("(instance (instantiate $outer))")), (4, 4, 8));
    let three = "(instance (instantiate $outer)) (instance (instantiate $inner)) (instance (instantiate $outer))";
    assert_eq!(taken(&text(three)), (10, 10, 20));
}

#[test]
fn modules_and_components_that_are_handed_around_count_where_they_are_instantiated() {
    let argument = "(component
        (core module $m (memory 1))
        (component $user (import \"m\" (core module $given)) (core instance (instantiate $given)))
        (instance (instantiate $user (with \"m\" (core module $m))))
        (instance (instantiate $user (with \"m\" (core module $m)))))";
    assert_eq!(taken(argument), (2, 2, 0));
    let exported = "(component
        (component $maker (core module $m (memory 1)) (export \"m\" (core module $m)))
        (instance $made (instantiate $maker))
        (alias export $made \"m\" (core module $m))
        (core instance (instantiate $m)) (core instance (instantiate $m)))";
    assert_eq!(taken(exported), (2, 2, 0));
    let component = "(component
        (component $small (core module $m (table 1 funcref)) (core instance (instantiate $m)))
        (component $user (import \"c\" (component $given))
          (instance (instantiate $given)) (instance (instantiate $given)))
        (instance $bundle (export \"c\" (component $small)))
        (alias export $bundle \"c\" (component $again))
        (instance (instantiate $user (with \"c\" (component $again)))))";
    assert_eq!(taken(component), (2, 0, 2));
}

#[test]
fn a_component_that_doubles_at_every_level_is_refused_and_not_counted_for_ever() {
    let doubling = |levels: usize| {
        let mut text = String::from(
            "(component (component $c0 (core module $m) (core instance (instantiate $m)))",
        );
        for level in 1..=levels {
            let below = level - 1;
            text += &format!(
                "(component $c{level} (alias outer 1 {below} (component $b))
                   (instance (instantiate $b)) (instance (instantiate $b)))"
            );
        }
        text + &format!("(instance (instantiate $c{levels})))")
    };
    assert_eq!(taken(&doubling(10)), (1024, 0, 0));
    for levels in [40, 300] {
        let wasm = wat::parse_str(doubling(levels)).expect("text");
        let (status, message) = describe(&wasm).expect_err("too many");
        assert_eq!(status, AbStatus::Invalid);
        assert!(message.contains("instan"), "{message}");
    }
}

#[test]
fn a_core_module_is_described_as_one() {
    let module = wat::parse_str(r#"(module (import "alga" "log_info" (func (param i32 i32))) (memory (export "memory") 1) (func (export "alloc") (param i32) (result i32) unreachable))"#).unwrap();
    let description = describe(&module).expect("a module");
    assert_eq!(description["kind"], "module");
    assert_eq!(
        description["imports"],
        json!([{"name": "alga", "functions": [{"name": "log_info", "type": ""}]}])
    );
    assert_eq!(description["exports"][1], json!({"name": "alloc", "kind": "func", "type": ""}));
    assert_eq!(description["core_modules"], 1);
}

#[test]
fn a_damaged_component_is_refused_at_every_length() {
    let wasm = plain(ECHO);
    for length in (0..wasm.len()).step_by(37) {
        assert!(describe(&wasm[..length]).is_err() || length == 8, "cut at {length}");
    }
    let (status, _) = describe(b"\0asm\x01\0\0\0 garbage").unwrap_err();
    assert_eq!(status, AbStatus::Invalid);
}
