//! What instantiating a component takes: every core instance, with its memories and tables.
//!
//! A nested component may be instantiated many times, and modules and components may be handed to it
//! as arguments or come out of it as exports. So the definitions are followed as the engine follows
//! them; what is in the file but never instantiated takes nothing.

use crate::error::AbError;
use std::collections::BTreeMap;
use std::rc::Rc;
use wasmparser::{
    ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind, Encoding,
    Instance, Payload,
};

/// Components that instantiate one another, one in the other, at most so deep.
const MOST_DEPTH: u32 = 200;
/// Definitions that are followed in all, and as how many of them an instance of a component counts.
/// No slot of a pool holds what needs as many.
const MOST_STEPS: u64 = 1_000_000;
const STEPS_OF_AN_INSTANCE: usize = 8;

/// What instances take from the engine's pool.
#[derive(Default, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    pub instances: u64,
    pub memories: u64,
    pub tables: u64,
}

impl Needs {
    fn add(&mut self, module: Needs) {
        self.instances += 1;
        self.memories = self.memories.saturating_add(module.memories);
        self.tables = self.tables.saturating_add(module.tables);
    }
}

/// The index spaces that matter here.
#[derive(Clone, Copy)]
enum Space {
    Modules,
    Components,
    Instances,
}

impl Space {
    fn of(kind: ComponentExternalKind) -> Option<Space> {
        match kind {
            ComponentExternalKind::Module => Some(Space::Modules),
            ComponentExternalKind::Component => Some(Space::Components),
            ComponentExternalKind::Instance => Some(Space::Instances),
            _ => None,
        }
    }
}

struct Item {
    name: String,
    space: Space,
    index: u32,
}

/// A definition, in the order of the file.
enum Step {
    Module(Needs),
    Component(usize),
    Import(Space, String),
    CoreInstance(u32),
    Instance(u32, Vec<Item>),
    Bundle(Vec<Item>),
    AliasExport(Space, u32, String),
    AliasOuter(Space, u32, u32),
    Export(Item),
}

/// The definitions of a file, collected while its bytes are walked over.
#[derive(Default)]
pub struct Definitions {
    bodies: Vec<Vec<Step>>,
    /// Components around the current byte, the outermost first.
    open: Vec<usize>,
    /// The core module around the current byte.
    module: Option<Needs>,
    /// A file that is one core module is one instance.
    alone: Option<Needs>,
}

fn invalid(error: impl std::fmt::Display) -> AbError {
    AbError::invalid(error)
}

impl Definitions {
    fn push(&mut self, step: Step) {
        if let Some(&body) = self.open.last() {
            self.bodies[body].push(step);
        }
    }

    /// Takes notice of the next part of the file.
    pub fn note(&mut self, payload: &Payload<'_>) -> Result<(), AbError> {
        match payload {
            Payload::Version { encoding: Encoding::Component, .. } => {
                let body = self.bodies.len();
                self.push(Step::Component(body));
                self.bodies.push(Vec::new());
                self.open.push(body);
            }
            Payload::Version { encoding: Encoding::Module, .. } => {
                self.module = Some(Needs::default());
            }
            Payload::MemorySection(reader) => {
                self.module.get_or_insert_default().memories += u64::from(reader.count());
            }
            Payload::TableSection(reader) => {
                self.module.get_or_insert_default().tables += u64::from(reader.count());
            }
            Payload::End(_) => match self.module.take() {
                Some(module) if self.open.is_empty() => {
                    self.alone = Some(Needs { instances: 1, ..module });
                }
                Some(module) => self.push(Step::Module(module)),
                None => drop(self.open.pop()),
            },
            _ => self.note_section(payload)?,
        }
        Ok(())
    }

    fn note_section(&mut self, payload: &Payload<'_>) -> Result<(), AbError> {
        match payload {
            Payload::ComponentImportSection(reader) => {
                for import in reader.clone() {
                    let import = import.map_err(invalid)?;
                    if let Some(space) = Space::of(import.ty.kind()) {
                        self.push(Step::Import(space, import.name.name.to_owned()));
                    }
                }
            }
            Payload::ComponentAliasSection(reader) => {
                for alias in reader.clone() {
                    if let Some(step) = alias_step(&alias.map_err(invalid)?) {
                        self.push(step);
                    }
                }
            }
            Payload::InstanceSection(reader) => {
                for instance in reader.clone() {
                    if let Instance::Instantiate { module_index, .. } = instance.map_err(invalid)? {
                        self.push(Step::CoreInstance(module_index));
                    }
                }
            }
            Payload::ComponentInstanceSection(reader) => {
                for instance in reader.clone() {
                    self.push(instance_step(&instance.map_err(invalid)?));
                }
            }
            Payload::ComponentExportSection(reader) => {
                for export in reader.clone() {
                    let export = export.map_err(invalid)?;
                    if let Some(space) = Space::of(export.kind) {
                        let (name, index) = (export.name.name.to_owned(), export.index);
                        self.push(Step::Export(Item { name, space, index }));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// What instantiating the whole file takes. An error: it is too much to count.
    pub fn needs(&self) -> Result<Needs, AbError> {
        if let Some(module) = self.alone {
            return Ok(module);
        }
        let mut count = Count {
            bodies: &self.bodies,
            scopes: Vec::new(),
            needs: Needs::default(),
            steps: MOST_STEPS,
        };
        if !self.bodies.is_empty() {
            let root = Closure { body: 0, outer: None };
            count.instantiate(&root, &BTreeMap::new(), 0)?;
        }
        Ok(count.needs)
    }
}

fn alias_step(alias: &ComponentAlias<'_>) -> Option<Step> {
    match *alias {
        ComponentAlias::InstanceExport { kind, instance_index, name } => {
            Some(Step::AliasExport(Space::of(kind)?, instance_index, name.to_owned()))
        }
        ComponentAlias::Outer { kind: ComponentOuterAliasKind::CoreModule, count, index } => {
            Some(Step::AliasOuter(Space::Modules, count, index))
        }
        ComponentAlias::Outer { kind: ComponentOuterAliasKind::Component, count, index } => {
            Some(Step::AliasOuter(Space::Components, count, index))
        }
        _ => None,
    }
}

fn instance_step(instance: &ComponentInstance<'_>) -> Step {
    let item = |name: &str, kind, index| {
        Space::of(kind).map(|space| Item { name: name.to_owned(), space, index })
    };
    match instance {
        ComponentInstance::Instantiate { component_index, args } => {
            let args = args.iter().filter_map(|arg| item(arg.name, arg.kind, arg.index));
            Step::Instance(*component_index, args.collect())
        }
        ComponentInstance::FromExports(exports) => {
            let exports = exports.iter().filter_map(|e| item(e.name.name, e.kind, e.index));
            Step::Bundle(exports.collect())
        }
    }
}

type Exports = BTreeMap<String, Value>;

/// A component and the scope that its outer aliases mean.
#[derive(Clone, Copy)]
struct Closure {
    body: usize,
    outer: Option<usize>,
}

#[derive(Clone)]
enum Value {
    /// Would come from the host, which offers no modules and no components.
    Unknown,
    Module(Needs),
    Component(Closure),
    Instance(Rc<Exports>),
}

#[derive(Default)]
struct Scope {
    outer: Option<usize>,
    modules: Vec<Value>,
    components: Vec<Value>,
    instances: Vec<Value>,
}

impl Scope {
    fn get(&self, space: Space, index: u32) -> Value {
        let values = match space {
            Space::Modules => &self.modules,
            Space::Components => &self.components,
            Space::Instances => &self.instances,
        };
        values.get(index as usize).cloned().unwrap_or(Value::Unknown)
    }

    fn push(&mut self, space: Space, value: Value) {
        match space {
            Space::Modules => self.modules.push(value),
            Space::Components => self.components.push(value),
            Space::Instances => self.instances.push(value),
        }
    }
}

struct Count<'a> {
    bodies: &'a [Vec<Step>],
    scopes: Vec<Scope>,
    needs: Needs,
    steps: u64,
}

impl Count<'_> {
    fn spend(&mut self, steps: usize) -> Result<(), AbError> {
        let left = self.steps.checked_sub(steps as u64);
        self.steps = left.ok_or_else(|| invalid("it has more instances than can be counted"))?;
        Ok(())
    }

    fn collect(&mut self, scope: usize, items: &[Item]) -> Result<Exports, AbError> {
        self.spend(items.len())?;
        let scope = &self.scopes[scope];
        let value = |item: &Item| (item.name.clone(), scope.get(item.space, item.index));
        Ok(items.iter().map(value).collect())
    }

    fn instantiate(
        &mut self,
        component: &Closure,
        args: &Exports,
        depth: u32,
    ) -> Result<Exports, AbError> {
        if depth > MOST_DEPTH {
            return Err(invalid("its components instantiate one another too deeply"));
        }
        self.spend(STEPS_OF_AN_INSTANCE)?;
        let bodies = self.bodies;
        let scope = self.scopes.len();
        self.scopes.push(Scope { outer: component.outer, ..Scope::default() });
        let mut exports = Exports::new();
        for step in &bodies[component.body] {
            self.spend(1)?;
            let (space, value) = match step {
                Step::Module(needs) => (Space::Modules, Value::Module(*needs)),
                Step::Component(body) => {
                    let closure = Closure { body: *body, outer: Some(scope) };
                    (Space::Components, Value::Component(closure))
                }
                Step::Import(space, name) => {
                    (*space, args.get(name).cloned().unwrap_or(Value::Unknown))
                }
                Step::CoreInstance(module) => {
                    match self.scopes[scope].get(Space::Modules, *module) {
                        Value::Module(needs) => self.needs.add(needs),
                        _ => self.needs.add(Needs::default()),
                    }
                    continue;
                }
                Step::Instance(index, items) => {
                    let args = self.collect(scope, items)?;
                    let made = match self.scopes[scope].get(Space::Components, *index) {
                        Value::Component(inner) => {
                            Value::Instance(Rc::new(self.instantiate(&inner, &args, depth + 1)?))
                        }
                        _ => Value::Unknown,
                    };
                    (Space::Instances, made)
                }
                Step::Bundle(items) => {
                    (Space::Instances, Value::Instance(Rc::new(self.collect(scope, items)?)))
                }
                Step::AliasExport(space, instance, name) => {
                    let exported = match self.scopes[scope].get(Space::Instances, *instance) {
                        Value::Instance(exports) => exports.get(name).cloned(),
                        _ => None,
                    };
                    (*space, exported.unwrap_or(Value::Unknown))
                }
                Step::AliasOuter(space, count, index) => {
                    (*space, self.outer(scope, *count, *space, *index))
                }
                Step::Export(item) => {
                    let value = self.scopes[scope].get(item.space, item.index);
                    exports.insert(item.name.clone(), value.clone());
                    (item.space, value)
                }
            };
            self.scopes[scope].push(space, value);
        }
        Ok(exports)
    }

    fn outer(&self, scope: usize, count: u32, space: Space, index: u32) -> Value {
        let mut at = Some(scope);
        for _ in 0..count {
            at = at.and_then(|at| self.scopes[at].outer);
        }
        at.map_or(Value::Unknown, |at| self.scopes[at].get(space, index))
    }
}
