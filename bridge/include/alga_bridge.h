/* The C interface between algad and Wasmtime. Mechanism only: no policy, no I/O of its own.
 *
 * Conventions
 *  - Every function is safe to call from any thread unless it says [strand]: calls marked [strand]
 *    on one execution must not overlap (they may move between threads).
 *  - No function throws or unwinds. A Rust panic is caught at the boundary; it poisons its execution
 *    only, and is reported as AB_E_PANIC or AB_POLL_READY with AB_END_PANIC.
 *  - Strings are UTF-8, not NUL-terminated. A view passed in is borrowed for the call. A view handed
 *    to a callback is borrowed for the callback unless it says "until the call is consumed".
 *  - Callbacks are noexcept, never block, never re-enter the bridge for the same execution except
 *    through the ab_call_* functions of the call they were given.
 */
#ifndef ALGA_BRIDGE_H
#define ALGA_BRIDGE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define AB_ABI_VERSION 2u

typedef struct ab_engine ab_engine;
typedef struct ab_component ab_component; /* loaded and prelinked; reference counted */
typedef struct ab_exec ab_exec;           /* one execution: a store, an instance, a call */
typedef struct ab_call ab_call;           /* one pending host call; consumed exactly once */
typedef struct ab_error ab_error;

typedef struct {
  const char* data;
  size_t len;
} ab_str;

typedef struct {
  const uint8_t* data;
  size_t len;
} ab_view;

/* A buffer whose ownership moves with it. release(ctx) is called once, from any thread, when the
 * bridge is done with it; release may be NULL when data is empty or static. */
typedef struct {
  const uint8_t* data;
  size_t len;
  void (*release)(void* ctx);
  void* ctx;
} ab_owned;

typedef struct {
  ab_str name;
  ab_str value;
} ab_pair;

typedef enum {
  AB_OK = 0,
  AB_E_INVALID,      /* bad argument, or bytes that are no component */
  AB_E_INCOMPATIBLE, /* artefact made by another version, settings or CPU */
  AB_E_LINK,         /* an import that the host does not know, or of another shape */
  AB_E_LIMIT,        /* exceeds a configured size */
  AB_E_POOL_FULL,    /* no free slot; try again later */
  AB_E_IO,
  AB_E_PANIC
} ab_status;

ab_status ab_error_status(const ab_error* error);
ab_str ab_error_message(const ab_error* error); /* borrowed from error */
void ab_error_free(ab_error* error);            /* NULL is fine */

/* ---- engine ---------------------------------------------------------------------------------- */

typedef struct {
  uint32_t abi; /* AB_ABI_VERSION */
  /* 1: pooling allocator (runner). 0: on-demand allocator (compile and inspect processes). Both
   * produce and accept the same artefacts. */
  uint8_t pooling;
  uint8_t async_stack_zeroing;
  uint32_t max_executions;           /* slots; the admission limit must be below */
  uint64_t max_memory_bytes;         /* hard ceiling of one linear memory */
  uint32_t max_table_elements;       /* hard ceiling of one table */
  uint32_t core_instances_per_component;
  uint32_t memories_per_component;
  uint32_t tables_per_component;
  uint64_t max_core_instance_bytes;
  uint64_t max_component_instance_bytes;
  uint32_t max_unused_warm_slots;
  uint32_t decommit_batch;
  uint64_t memory_keep_resident; /* of each memory: reset by copying and kept; the rest is given back */
  uint64_t table_keep_resident;
  uint64_t dense_image_max_bytes;
  uint64_t async_stack_bytes;
  uint64_t max_wasm_stack_bytes;
} ab_engine_config;

/* Fills *config with the defaults that fit JavaScript guests. */
void ab_engine_config_default(ab_engine_config* config);

/* What a guest asks of the host. One engine has one table of callbacks. `host` is passed back. */
typedef struct ab_host ab_host;

/* One engine per process. host may be NULL for an engine that only compiles and describes. */
ab_status ab_engine_new(const ab_engine_config* config, const ab_host* host, ab_engine** out,
                        ab_error** error);
void ab_engine_free(ab_engine* engine); /* after all components and executions are gone */

/* Advances the epoch by one: every running guest yields at its next check, one that has not yielded
 * before after two ticks. To be called by exactly one ticker. */
void ab_engine_tick(ab_engine* engine);

/* 32 bytes that differ whenever artefacts are not interchangeable (version, settings, CPU). */
void ab_engine_compat_hash(const ab_engine* engine, uint8_t out[32]);
ab_str ab_wasmtime_version(void); /* static */

typedef struct {
  uint64_t live_component_instances, live_core_instances, live_memories, live_tables, live_stacks;
  uint64_t unused_warm_memories, unused_memory_bytes_resident;
} ab_pool_stats;
void ab_engine_pool_stats(const ab_engine* engine, ab_pool_stats* out); /* zeros without a pool */

/* ---- components ------------------------------------------------------------------------------ */

/* Compiles. CPU-heavy (seconds) and handles untrusted bytes: run it in the compile process. Core
 * modules, text and native code are refused with AB_E_INVALID. */
ab_status ab_precompile(ab_engine* engine, ab_view wasm, ab_owned* artefact, ab_error** error);

/* Describes component bytes without compiling them, as JSON:
 * {"kind":"component"|"module","size":n,
 *  "imports":[{"name","functions":[{"name","type"}]}],
 *  "exports":[{"name","kind","type"}],
 *  "memories":[{"initial_pages","maximum_pages"|null,"memory64"}],"tables":[{"initial","maximum"|null}],
 *  "core_modules":n,"core_instances":n,"data_bytes":n,"image_span_bytes":n,
 *  "instantiated_memories":n,"instantiated_tables":n,
 *  "producers":[{"field","name","version"}],"custom_sections":[{"name","size"}]}
 * "type" is WIT-like text. "core_instances" and "instantiated_…" count what instantiating takes, a
 * module or a nested component that is instantiated twice twice, also one that is handed over as an
 * argument; "memories" and "tables" hold the definitions. What has more instances than can be counted
 * is refused with AB_E_INVALID. */
ab_status ab_describe(ab_view wasm, ab_owned* json, ab_error** error);

/* Loads an artefact by mapping fd (not consumed; may be closed afterwards) and links it. The caller
 * MUST have authenticated the bytes behind this very descriptor: an artefact is native code.
 * Imports that the host does not offer fail with AB_E_LINK naming each of them. */
ab_status ab_component_load_fd(ab_engine* engine, int fd, ab_component** out, ab_error** error);
void ab_component_retain(ab_component* component);
void ab_component_release(ab_component* component);
/* Bytes of mapped code and data, for cache accounting. */
uint64_t ab_component_image_bytes(const ab_component* component);

/* Wraps a legacy core module (exports memory, alloc, optional dealloc, handler; imports `alga`)
 * into a component. */
ab_status ab_adapt_legacy(ab_view module, ab_owned* component, ab_error** error);

/* ---- host calls ------------------------------------------------------------------------------ */

typedef enum {
  AB_OP_CONTEXT_GET = 1, /* -> ab_call_ok_context */
  AB_OP_CONTEXT_REMAINING, /* -> ab_call_ok_u64: milliseconds */
  AB_OP_CONFIG_GET,      /* key -> ab_call_ok_string, or ab_call_ok_none */
  AB_OP_CONFIG_ENTRIES,  /* -> ab_call_ok_pairs */
  AB_OP_SECRET_GET,      /* key -> ab_call_ok_string */
  AB_OP_SECRET_KEYS,     /* -> ab_call_ok_pairs (values ignored) */
  AB_OP_HTTP_FETCH,      /* http -> ab_call_ok_http */
  AB_OP_STORAGE_GET,     /* storage -> ab_call_ok_entry */
  AB_OP_STORAGE_PUT,     /* storage -> ab_call_ok_u64: new revision */
  AB_OP_STORAGE_DELETE,  /* storage -> ab_call_ok_none */
  AB_OP_STORAGE_LIST,    /* storage -> ab_call_ok_page */
  AB_OP_UI_CALL,         /* key = route, body -> ab_call_ok_bytes */
  AB_OP_USER_GET,        /* -> ab_call_ok_user */
  AB_OP_UNOFFERED        /* key = "interface#function"; already answered with its denied case; the
                            call is NULL and nothing must be completed: for the audit trail */
} ab_op;

/* How the guest reaches the operation; for audit and for choosing semantics. */
typedef enum { AB_VIA_V1 = 0, AB_VIA_COMPAT = 1, AB_VIA_WASI = 2 } ab_via;

typedef struct {
  ab_str method, url;
  const ab_pair* headers;
  size_t n_headers;
  ab_view body;
  uint8_t has_body;
} ab_http_request;

typedef enum { AB_ALWAYS = 0, AB_CREATE_ONLY = 1, AB_REVISION = 2 } ab_condition;

typedef struct {
  ab_str ns, key;        /* list: key is the literal prefix */
  ab_view value;
  ab_condition condition;
  uint64_t revision;     /* with AB_REVISION */
  uint32_t ttl_seconds;  /* 0: none */
  uint8_t has_ttl;
  ab_str cursor;         /* list; empty: first page */
  uint32_t limit;        /* list; 0: not given */
} ab_storage_request;

/* Views are valid until the call is consumed. */
typedef struct {
  ab_op op;
  ab_via via;
  ab_str key;
  ab_view body;
  uint8_t has_body;
  const ab_http_request* http;
  const ab_storage_request* storage;
} ab_host_request;

/* Neutral error cases. The bridge maps each to the nearest case that the guest's own interface has. */
typedef enum {
  AB_ERR_INTERNAL = 0,
  AB_ERR_DENIED,
  AB_ERR_MISSING,
  AB_ERR_EXPIRED,
  AB_ERR_CONFLICT,
  AB_ERR_INVALID, /* http: invalid-url; ui-proxy: bad-request */
  AB_ERR_QUOTA,
  AB_ERR_TRANSPORT,
  AB_ERR_TIMEOUT,
  AB_ERR_TOO_LARGE,
  AB_ERR_LIMIT
} ab_err;

uint64_t ab_call_id(const ab_call* call); /* unique in its execution */

/* Each of these consumes the call. All are safe after the guest is gone (the value is released). */
void ab_call_ok_none(ab_call* call);
void ab_call_ok_u64(ab_call* call, uint64_t value);
void ab_call_ok_string(ab_call* call, ab_owned utf8);
void ab_call_ok_bytes(ab_call* call, ab_owned bytes);
void ab_call_ok_pairs(ab_call* call, const ab_pair* pairs, size_t n); /* copied */

typedef struct {
  ab_str request_id, tenant_id, extension_id, install_id, version_id;
  uint8_t has_request_id, has_install_id, has_version_id;
} ab_context;
void ab_call_ok_context(ab_call* call, const ab_context* context);

typedef struct {
  ab_str tenant_id, client_name, user_id, user_email, user_name, user_type, client_id;
  uint8_t has_client_id;
  const ab_pair* additional;
  size_t n_additional;
} ab_user;
void ab_call_ok_user(ab_call* call, const ab_user* user);

typedef struct {
  uint16_t status;
  const ab_pair* headers; /* copied */
  size_t n_headers;
  ab_owned body;
} ab_http_response;
void ab_call_ok_http(ab_call* call, const ab_http_response* response);

typedef struct {
  ab_str ns, key;
  ab_view value;
  uint64_t revision;
} ab_storage_entry;
void ab_call_ok_entry(ab_call* call, const ab_storage_entry* entry); /* copied */
void ab_call_ok_page(ab_call* call, const ab_storage_entry* entries, size_t n, ab_str next_cursor,
                     uint8_t has_next); /* copied */

void ab_call_err(ab_call* call, ab_err error);
/* Ends the execution with AB_END_HOST and this reason (a limit was hit, the platform failed). */
void ab_call_abort(ab_call* call, ab_str reason);

typedef enum { AB_LOG_DEBUG = 0, AB_LOG_INFO, AB_LOG_WARN, AB_LOG_ERROR } ab_log_level;

struct ab_host {
  uint32_t abi;
  void* user; /* passed as `host` */
  /* The execution can make progress: schedule ab_exec_poll. May be called during a poll, from any
   * thread, more than once, and after the execution ended. */
  void (*notify)(void* host, void* exec_user);
  /* A host call. Complete it now or later, from any thread, exactly once. Runs on the guest's fiber:
   * copy, post, return. Returning non-zero ends the execution at once with AB_END_HOST (and the
   * callee must not have consumed the call). */
  int (*call)(void* host, void* exec_user, const ab_host_request* request, ab_call* call);
  /* The guest no longer waits for this call (it was cancelled); completing it is still required. */
  void (*abandoned)(void* host, void* exec_user, uint64_t call_id);
  /* Synchronous; non-zero ends the execution with AB_END_HOST. */
  int (*log)(void* host, void* exec_user, ab_log_level level, ab_str message);
  int (*stdio)(void* host, void* exec_user, int fd, ab_view bytes); /* 1: stdout, 2: stderr */
};

/* ---- executions ------------------------------------------------------------------------------ */

typedef struct {
  uint64_t memory_bytes;     /* all linear memories of the execution together */
  uint32_t table_elements;   /* all tables together */
  uint32_t resource_handles; /* WASI resources alive at once */
  uint64_t host_call_bytes;  /* lifted from the guest in one host call (Wasmtime's hostcall fuel); in
                                bodies of wasi:http that no host call has yet; in its fields, methods,
                                paths and authorities, all that there ever were */
  uint64_t response_bytes;   /* body of the answer */
  uint32_t response_headers;
  uint64_t response_header_bytes;
} ab_limits;

typedef struct {
  ab_context context;
  ab_str method, url;
  const ab_pair* headers; /* borrowed for ab_exec_new: copied once */
  size_t n_headers;
  ab_owned body; /* consumed by ab_exec_new, also when it fails */
  uint8_t has_body;
} ab_execute_request;

/* Prepares; runs no guest code. */
ab_status ab_exec_new(ab_component* component, const ab_limits* limits,
                      const ab_execute_request* request, void* exec_user, ab_exec** out,
                      ab_error** error);

typedef enum {
  AB_POLL_PENDING = 0, /* waits for a host call or a timer; notify() will come */
  AB_POLL_YIELDED,     /* used up its slice; poll again when it is its turn */
  AB_POLL_READY        /* ended; see ab_exec_end */
} ab_poll;

ab_poll ab_exec_poll(ab_exec* exec); /* [strand] runs guest code on this thread for up to a slice */

typedef enum {
  AB_END_OK = 0,
  AB_END_GUEST_TRAP,     /* see trap_code */
  AB_END_STACK_OVERFLOW,
  AB_END_MEMORY_LIMIT,
  AB_END_TABLE_LIMIT,
  AB_END_HOSTCALL_BYTES,
  AB_END_HANDLE_LIMIT,
  AB_END_RESPONSE_LIMIT,
  AB_END_EXIT,           /* wasi:cli/exit */
  AB_END_HOST,           /* a callback or ab_call_abort ended it */
  AB_END_LINK,
  AB_END_POOL_FULL,
  AB_END_PANIC,
  AB_END_INTERNAL        /* the machine refused memory or mappings */
} ab_end;

typedef struct {
  ab_end end;
  int32_t trap_code; /* Wasmtime's Trap as u8, or -1 */
  ab_str message;    /* for operators and authors; empty when AB_END_OK */
  ab_str backtrace;  /* wasm frames, one a line */
  uint16_t status;   /* the answer, when AB_END_OK */
  const ab_pair* headers;
  size_t n_headers;
  ab_view body;
  uint8_t has_body;
  ab_str limit; /* which limit ended it: memory, table_elements, host_bytes, resource_handles,
                   response_body, header_count, header_bytes; empty when it was none */
} ab_outcome;
/* [strand] after AB_POLL_READY; views live until ab_exec_free. */
void ab_exec_outcome(const ab_exec* exec, ab_outcome* out);

typedef struct {
  uint64_t instantiate_ns, call_ns, poll_ns; /* poll_ns: time spent inside ab_exec_poll */
  uint64_t peak_memory_bytes, peak_table_elements;
  uint64_t host_bytes_in, host_bytes_out;    /* from guest; to guest */
  uint32_t host_calls, polls, yields;
  uint8_t memory_denied, table_denied;       /* the guest asked for more than its limit */
} ab_stats;
void ab_exec_stats(const ab_exec* exec, ab_stats* out); /* [strand] */

/* [strand] Drops the guest wherever it stands, with its store; pending calls are abandoned. This is
 * how an execution is cancelled. One that has ended keeps its slot of the pool until here: giving
 * memory back takes time that nobody who waits for the answer should wait for. exec_user must stay valid until it returns; notify() can no
 * longer be called with it afterwards. */
void ab_exec_free(ab_exec* exec);

/* Number of executions not yet freed, for leak tests. */
uint64_t ab_live_executions(void);

#ifdef __cplusplus
}
#endif
#endif
