// The functions of the bridge that answer a host call, for calls that no guest made.

#include <mutex>
#include <set>

#include "engine/bridge.h"
#include "engine/testing_calls.h"

namespace alga::engine::testing {

ab_outcome scripted_outcome{};

namespace {

std::mutex kept_mutex;
std::set<const void*> kept_calls;

KeptCall* kept(const ab_call* call) {
  const std::scoped_lock lock(kept_mutex);
  if (!kept_calls.contains(call)) return nullptr;
  return const_cast<KeptCall*>(reinterpret_cast<const KeptCall*>(call));
}

KeptCall& answered(KeptCall& call, const char* how) {
  ++call.answers;
  call.how = how;
  return call;
}

std::string take(ab_owned owned) {
  std::string text(reinterpret_cast<const char*>(owned.data), owned.len);
  if (owned.release != nullptr) owned.release(owned.ctx);
  return text;
}

void add_pairs(KeptCall& call, const ab_pair* pairs, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    call.pairs.emplace_back(view(pairs[i].name), view(pairs[i].value));
  }
}

}  // namespace

KeptCall::KeptCall(std::uint64_t number_of) : id(number_of) {
  const std::scoped_lock lock(kept_mutex);
  kept_calls.insert(this);
}

KeptCall::~KeptCall() {
  const std::scoped_lock lock(kept_mutex);
  kept_calls.erase(this);
}

}  // namespace alga::engine::testing

// NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming): the linker's names
extern "C" {
using alga::engine::view;
using alga::engine::testing::add_pairs;
using alga::engine::testing::answered;
using alga::engine::testing::kept;
using alga::engine::testing::take;

std::uint64_t __real_ab_call_id(const ab_call*);
void __real_ab_call_ok_none(ab_call*);
void __real_ab_call_ok_u64(ab_call*, std::uint64_t);
void __real_ab_call_ok_string(ab_call*, ab_owned);
void __real_ab_call_ok_bytes(ab_call*, ab_owned);
void __real_ab_call_ok_pairs(ab_call*, const ab_pair*, std::size_t);
void __real_ab_call_ok_context(ab_call*, const ab_context*);
void __real_ab_call_ok_user(ab_call*, const ab_user*);
void __real_ab_call_ok_http(ab_call*, const ab_http_response*);
void __real_ab_call_ok_entry(ab_call*, const ab_storage_entry*);
void __real_ab_call_ok_page(ab_call*, const ab_storage_entry*, std::size_t, ab_str, std::uint8_t);
void __real_ab_call_err(ab_call*, ab_err);
void __real_ab_call_abort(ab_call*, ab_str);
ab_poll __real_ab_exec_poll(ab_exec*);
void __real_ab_exec_outcome(const ab_exec*, ab_outcome*);

std::uint64_t __wrap_ab_call_id(const ab_call* call) {
  auto* mine = kept(call);
  return mine == nullptr ? __real_ab_call_id(call) : mine->id;
}

void __wrap_ab_call_ok_none(ab_call* call) {
  auto* mine = kept(call);
  if (mine == nullptr) return __real_ab_call_ok_none(call);
  answered(*mine, "none");
}

void __wrap_ab_call_ok_u64(ab_call* call, std::uint64_t value) {
  auto* mine = kept(call);
  if (mine == nullptr) return __real_ab_call_ok_u64(call, value);
  answered(*mine, "u64").number = value;
}

void __wrap_ab_call_ok_string(ab_call* call, ab_owned text) {
  auto* mine = kept(call);
  if (mine == nullptr) return __real_ab_call_ok_string(call, text);
  answered(*mine, "string").text = take(text);
}

void __wrap_ab_call_ok_bytes(ab_call* call, ab_owned bytes) {
  auto* mine = kept(call);
  if (mine == nullptr) return __real_ab_call_ok_bytes(call, bytes);
  answered(*mine, "bytes").text = take(bytes);
}

void __wrap_ab_call_ok_pairs(ab_call* call, const ab_pair* pairs, std::size_t count) {
  auto* mine = kept(call);
  if (mine == nullptr) return __real_ab_call_ok_pairs(call, pairs, count);
  add_pairs(answered(*mine, "pairs"), pairs, count);
}

void __wrap_ab_call_ok_context(ab_call* call, const ab_context* context) {
  auto* mine = kept(call);
  if (mine == nullptr) return __real_ab_call_ok_context(call, context);
  auto& fields = answered(*mine, "context").fields;
  fields = {{"tenant", std::string(view(context->tenant_id))},
            {"extension", std::string(view(context->extension_id))}};
  if (context->has_request_id != 0) fields["request"] = view(context->request_id);
  if (context->has_install_id != 0) fields["install"] = view(context->install_id);
  if (context->has_version_id != 0) fields["version"] = view(context->version_id);
}

void __wrap_ab_call_ok_user(ab_call* call, const ab_user* user) {
  auto* mine = kept(call);
  if (mine == nullptr) return __real_ab_call_ok_user(call, user);
  auto& out = answered(*mine, "user");
  out.fields = {{"tenant", std::string(view(user->tenant_id))},
                {"id", std::string(view(user->user_id))},
                {"email", std::string(view(user->user_email))},
                {"name", std::string(view(user->user_name))},
                {"type", std::string(view(user->user_type))},
                {"client_name", std::string(view(user->client_name))}};
  if (user->has_client_id != 0) out.fields["client_id"] = view(user->client_id);
  add_pairs(out, user->additional, user->n_additional);
}

void __wrap_ab_call_ok_http(ab_call* call, const ab_http_response* response) {
  auto* mine = kept(call);
  if (mine == nullptr) return __real_ab_call_ok_http(call, response);
  auto& out = answered(*mine, "http");
  out.number = response->status;
  out.text = take(response->body);
  add_pairs(out, response->headers, response->n_headers);
}

void __wrap_ab_call_ok_entry(ab_call* call, const ab_storage_entry* entry) {
  auto* mine = kept(call);
  if (mine == nullptr) return __real_ab_call_ok_entry(call, entry);
  auto& out = answered(*mine, "entry");
  out.fields = {{"ns", std::string(view(entry->ns))}, {"key", std::string(view(entry->key))}};
  out.text = view(entry->value);
  out.number = entry->revision;
}

void __wrap_ab_call_ok_page(ab_call* call, const ab_storage_entry* entries, std::size_t count,
                            ab_str next, std::uint8_t has_next) {
  auto* mine = kept(call);
  if (mine == nullptr) return __real_ab_call_ok_page(call, entries, count, next, has_next);
  auto& out = answered(*mine, "page");
  for (std::size_t i = 0; i < count; ++i) {
    out.pairs.emplace_back(view(entries[i].key), view(entries[i].value));
  }
  if (has_next != 0) out.fields["next"] = view(next);
}

void __wrap_ab_call_err(ab_call* call, ab_err error) {
  auto* mine = kept(call);
  if (mine == nullptr) return __real_ab_call_err(call, error);
  answered(*mine, "err").error = error;
}

void __wrap_ab_call_abort(ab_call* call, ab_str reason) {
  auto* mine = kept(call);
  if (mine == nullptr) return __real_ab_call_abort(call, reason);
  answered(*mine, "abort").text = view(reason);
}

/// An execution without a guest has just ended as `scripted_outcome` says.
ab_poll __wrap_ab_exec_poll(ab_exec* exec) {
  return exec == nullptr ? AB_POLL_READY : __real_ab_exec_poll(exec);
}

void __wrap_ab_exec_outcome(const ab_exec* exec, ab_outcome* out) {
  if (exec != nullptr) return __real_ab_exec_outcome(exec, out);
  *out = alga::engine::testing::scripted_outcome;
}
}
// NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming)
