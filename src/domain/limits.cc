#include "domain/limits.h"

#include <algorithm>
#include <limits>
#include <string>

#include "json/decode.h"

namespace alga::domain {
namespace {

constexpr std::uint64_t KiB = 1024;
constexpr std::uint64_t MiB = 1024 * KiB;
constexpr std::uint64_t GiB = 1024 * MiB;
constexpr std::uint64_t second = 1000;

constexpr auto count = LimitUnit::count;
constexpr auto bytes = LimitUnit::bytes;
constexpr auto ms = LimitUnit::milliseconds;

constexpr std::array<LimitInfo, limit_count> table{{
    {Limit::wall_time, "wall_time", ms, 30 * second, 1, 120 * second, "engine.wall_limit",
     "time one execution may take, host calls included, queue and cold compile not"},
    {Limit::cpu_time, "cpu_time", ms, 5 * second, 1, 60 * second, "engine.cpu_limit",
     "time one execution may compute"},
    {Limit::memory, "memory", bytes, 256 * MiB, 64 * KiB, 1 * GiB, "engine.memory_limit",
     "linear memory of one execution, all memories together; JavaScript starts at 9 MiB"},
    {Limit::table_elements, "table_elements", count, 20'000, 1, 100'000, "engine.table_limit",
     "table elements of one execution"},
    {Limit::component_size, "component_size", bytes, 64 * MiB, 64 * KiB, 256 * MiB,
     "component.too_large", "size of a component at publish"},
    {Limit::components_in_memory, "components_in_memory", count, 256, 1, 100'000,
     "limit.components_in_memory", "prelinked components kept in memory"},
    {Limit::components_on_disk, "components_on_disk", count, 10'000, 1, 10'000'000,
     "limit.components_on_disk", "compiled components kept on disk"},
    {Limit::request_body, "request_body", bytes, 10 * MiB, 0, 64 * MiB, "limit.request_body",
     "body of an incoming request"},
    {Limit::response_body, "response_body", bytes, 10 * MiB, 0, 64 * MiB, "limit.response_body",
     "body of a guest's response"},
    {Limit::header_count, "header_count", count, 100, 1, 400, "limit.header_count",
     "header fields of a request or response, of handlers and of `http.fetch`"},
    {Limit::header_bytes, "header_bytes", bytes, 64 * KiB, 1 * KiB, 256 * KiB, "limit.header_bytes",
     "names and values of all header fields of a request or response, of handlers and of "
     "`http.fetch`"},
    {Limit::fetch_calls, "fetch_calls", count, 50, 0, 1'000, "limit.fetch_calls",
     "outgoing requests of one execution, calls to routes of the host application included"},
    {Limit::fetch_response, "fetch_response", bytes, 10 * MiB, 0, 64 * MiB, "limit.fetch_response",
     "body of an outgoing request's response, as it travels (compressed bodies stay compressed), "
     "or of a route's"},
    {Limit::fetch_time, "fetch_time", ms, 30 * second, 1, 120 * second, "limit.fetch_time",
     "time of one outgoing request"},
    {Limit::ui_payload, "ui_payload", bytes, 10 * MiB, 0, 64 * MiB, "limit.ui_payload",
     "payload of one call to a route of the host application"},
    {Limit::host_calls, "host_calls", count, 10'000, 1, 1'000'000, "limit.host_calls",
     "calls of one execution into the host"},
    {Limit::host_bytes, "host_bytes", bytes, 64 * MiB, 1, 1 * GiB, "limit.host_bytes",
     "bytes of one execution through host calls, both ways"},
    {Limit::log_line, "log_line", bytes, 8 * KiB, 64, 128 * KiB, "limit.log_line",
     "one guest log line; the rest is cut"},
    {Limit::log_lines, "log_lines", count, 1'000, 0, 16'000, "limit.log_lines",
     "guest log lines of one execution; further ones are dropped and counted"},
    {Limit::log_bytes, "log_bytes", bytes, 1 * MiB, 0, 16 * MiB, "limit.log_bytes",
     "guest log bytes of one execution; further ones are dropped and counted"},
    {Limit::stdio_bytes, "stdio_bytes", bytes, 256 * KiB, 0, 4 * MiB, "limit.stdio_bytes",
     "standard output and error of one execution; the rest is dropped and counted"},
    {Limit::bundle_archive, "bundle_archive", bytes, 64 * MiB, 1 * KiB, 200 * MiB,
     "archive.too_large", "size of a bundle"},
    {Limit::bundle_unpacked, "bundle_unpacked", bytes, 256 * MiB, 1 * KiB, 1 * GiB,
     "archive.unpacked_too_large", "all files of a bundle together"},
    {Limit::bundle_entries, "bundle_entries", count, 10'000, 1, 50'000, "archive.too_many_entries",
     "files and folders of a bundle"},
    {Limit::storage_value, "storage_value", bytes, 64 * KiB, 1, 1 * MiB, "storage.too_large",
     "one stored value"},
    {Limit::storage_metadata, "storage_metadata", bytes, 4 * KiB, 0, 64 * KiB, "storage.too_large",
     "metadata of a stored record"},
    {Limit::storage_bulk_items, "storage_bulk_items", count, 20, 1, 1'000, "storage.too_large",
     "records of one bulk write"},
    {Limit::storage_bulk_bytes, "storage_bulk_bytes", bytes, 512 * KiB, 1, 16 * MiB,
     "storage.too_large", "values of one bulk write together"},
    {Limit::storage_namespaces, "storage_namespaces", count, 32, 1, 10'000, "storage.quota",
     "namespaces of an install"},
    {Limit::storage_keys, "storage_keys", count, 5'120, 1, 10'000'000, "storage.quota",
     "keys of one namespace"},
    {Limit::storage_bytes, "storage_bytes", bytes, 256 * MiB, 1, 1024 * GiB, "storage.quota",
     "stored values of an install together"},
    {Limit::executions, "executions", count, 256, 1, 20'000, "limit.executions",
     "executions at once in this process, those included that wait for an answer; four times as "
     "many may wait for a place, and as many be prepared (bundle, secrets, component), of one "
     "tenant a quarter of those, of one install three quarters of its tenant's, rounded up"},
    {Limit::executions_per_tenant, "executions_per_tenant", count, 0, 0, 20'000,
     "limit.executions_per_tenant",
     "executions at once of one tenant in this process; 0: a quarter of `executions`, at least "
     "one"},
    {Limit::executions_per_install, "executions_per_install", count, 0, 0, 20'000,
     "limit.executions_per_install",
     "executions at once of one install in this process; 0: three quarters of its tenant's, "
     "rounded up"},
    {Limit::queue_wait, "queue_wait", ms, 1 * second, 0, 60 * second, "limit.queue_wait",
     "time a request may wait for a place"},
}};

constexpr bool in_order() {
  for (std::size_t i = 0; i < table.size(); ++i) {
    if (static_cast<std::size_t>(table[i].limit) != i) return false;
    if (table[i].minimum > table[i].default_value) return false;
    if (table[i].default_value > table[i].maximum) return false;
  }
  return true;
}
static_assert(in_order());

std::unexpected<Error> out_of_range(const LimitInfo& limit) {
  return fail(Kind::invalid, "limit.out_of_range",
              std::string(limit.name) + " must be between " + std::to_string(limit.minimum) +
                  " and " + std::to_string(limit.maximum));
}

std::uint64_t saturating_multiply(std::uint64_t a, std::uint64_t b) {
  std::uint64_t product = 0;
  bool overflow = __builtin_mul_overflow(a, b, &product);
  return overflow ? std::numeric_limits<std::uint64_t>::max() : product;
}

/// A request's wish in the limit's own unit.
struct Wishes {
  std::optional<std::uint64_t> wall_ms, cpu_ms, memory_bytes;

  explicit Wishes(const RequestedLimits& limits) : wall_ms(limits.timeout_ms) {
    if (limits.memory_mb) memory_bytes = saturating_multiply(*limits.memory_mb, MiB);
    if (limits.fuel) cpu_ms = *limits.fuel / fuel_per_cpu_ms;
  }
};

std::uint64_t settle(const ServerLimits& server, Limit limit,
                     const std::optional<std::uint64_t>& install,
                     const std::optional<std::uint64_t>& request, bool request_may_raise) {
  const std::uint64_t most = server.maximum(limit);
  std::uint64_t base = std::min(install.value_or(server.value(limit)), most);
  std::uint64_t wanted = request.value_or(base);
  std::uint64_t given = std::min(wanted, request_may_raise ? most : base);
  return std::max<std::uint64_t>(given, 1);
}

}  // namespace

std::span<const LimitInfo, limit_count> all_limits() { return table; }

const LimitInfo& info(Limit limit) { return table[static_cast<std::size_t>(limit)]; }

Lines lines_of(std::uint32_t executions) {
  const std::uint32_t process = executions * 4;
  const std::uint32_t tenant = std::max(1U, process / 4);
  return {.process = process, .tenant = tenant, .install = tenant - tenant / 4};
}

void count_limit_hit(Metrics& metrics, Limit limit) {
  metrics
      .counter(limit_hits_metric, "Limits that stopped or refused something",
               {{"limit", info(limit).name}})
      .add();
}

void count_limit_hit(Metrics& metrics, std::string_view code) {
  const auto* found = std::ranges::find(table, code, &LimitInfo::code);
  if (found == table.end() || std::ranges::count(table, code, &LimitInfo::code) != 1) return;
  count_limit_hit(metrics, found->limit);
}

std::optional<Limit> parse_limit(std::string_view name) {
  const auto* found = std::ranges::find(table, name, &LimitInfo::name);
  if (found == table.end()) return std::nullopt;
  return found->limit;
}

ServerLimits::ServerLimits() {
  for (const LimitInfo& limit : table) {
    values_[index(limit.limit)] = limit.default_value;
    maxima_[index(limit.limit)] = limit.maximum;
  }
}

Status ServerLimits::set_value(Limit limit, std::uint64_t value) {
  const LimitInfo& bounds = info(limit);
  if (value < bounds.minimum || value > bounds.maximum) return out_of_range(bounds);
  values_[index(limit)] = std::min(value, maxima_[index(limit)]);
  return {};
}

Status ServerLimits::set_maximum(Limit limit, std::uint64_t maximum) {
  const LimitInfo& bounds = info(limit);
  if (maximum < bounds.minimum || maximum > bounds.maximum) return out_of_range(bounds);
  maxima_[index(limit)] = maximum;
  values_[index(limit)] = std::min(values_[index(limit)], maximum);
  return {};
}

Result<RequestedLimits> parse_requested_limits(const json::Value& value, std::string_view path) {
  auto refuse = [](std::string message) {
    return fail(Kind::invalid, "limit.invalid", std::move(message));
  };
  Result<json::Object> object = json::Object::of(value, std::string(path));
  if (!object) return refuse(object.error().message);
  RequestedLimits limits;
  for (auto [name, target] :
       {std::pair{"timeout_ms", &limits.timeout_ms}, std::pair{"memory_mb", &limits.memory_mb},
        std::pair{"fuel", &limits.fuel}}) {
    const json::Value* number = object->raw(name);
    if (number == nullptr || number->is_null()) continue;
    if (number->is_uint64()) {
      *target = number->get_uint64();
    } else if (number->is_int64() && number->get_int64() > 0) {
      *target = static_cast<std::uint64_t>(number->get_int64());
    } else {
      return refuse(object->path_of(name) + " must be a whole number from 1");
    }
  }
  return limits;
}

ExecutionLimits effective_limits(const ServerLimits& server, const RequestedLimits& install,
                                 const RequestedLimits& request, bool request_may_raise) {
  const Wishes installed(install);
  const Wishes requested(request);
  return {
      .wall_ms =
          settle(server, Limit::wall_time, installed.wall_ms, requested.wall_ms, request_may_raise),
      .cpu_ms =
          settle(server, Limit::cpu_time, installed.cpu_ms, requested.cpu_ms, request_may_raise),
      .memory_bytes = settle(server, Limit::memory, installed.memory_bytes, requested.memory_bytes,
                             request_may_raise),
  };
}

}  // namespace alga::domain
