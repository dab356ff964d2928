#include "telemetry/record_json.h"

#include <algorithm>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <limits>
#include <utility>

#include "base/bytes.h"
#include "json/decode.h"
#include "telemetry/json_log.h"

namespace alga::telemetry {
namespace {

constexpr std::size_t kMaxLine = 1U << 20U;
constexpr std::int64_t kMaxInteger = std::numeric_limits<std::int64_t>::max();

boost::json::string text(std::string_view value) {
  if (is_utf8(value)) return boost::json::string(value);
  boost::json::string clean;
  while (!value.empty()) {
    // Whole stretches at once would be faster; it happens to hostile text only.
    std::size_t length = std::min<std::size_t>(4, value.size());
    while (length > 0 && !is_utf8(value.substr(0, length))) --length;
    clean += length > 0 ? value.substr(0, length) : std::string_view("\xEF\xBF\xBD");
    value.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return clean;
}

std::int64_t number(std::uint64_t value) {
  return static_cast<std::int64_t>(std::min<std::uint64_t>(value, kMaxInteger));
}

boost::json::object encode_who(const domain::ExecutionIdentity& who) {
  return {{"tenant", text(who.tenant)},         {"extension", text(who.extension)},
          {"install", text(who.install)},       {"version", text(who.version)},
          {"request_id", text(who.request_id)}, {"trace_id", text(who.trace_id)}};
}

struct Encoder {
  boost::json::object operator()(const domain::ExecutionRecord& record) const {
    return {{"kind", "execution"},
            {"who", encode_who(record.who)},
            {"started", format_rfc3339(record.started)},
            {"finished", format_rfc3339(record.finished)},
            {"end_class", text(record.end_class)},
            {"code", text(record.code)},
            {"status", record.status},
            {"config_version", text(record.config_version)},
            {"secrets_version", text(record.secrets_version)},
            {"queue_us", number(record.queue_us)},
            {"cold_us", number(record.cold_us)},
            {"instantiate_us", number(record.instantiate_us)},
            {"call_us", number(record.call_us)},
            {"cpu_us", number(record.cpu_us)},
            {"peak_memory_bytes", number(record.peak_memory_bytes)},
            {"host_bytes", number(record.host_bytes)},
            {"egress_bytes", number(record.egress_bytes)},
            {"host_calls", record.host_calls},
            {"response_bytes", number(record.response_bytes)},
            {"method", text(record.method)},
            {"path", text(record.path)},
            {"author_error", text(record.author_error)}};
  }
  boost::json::object operator()(const domain::GuestLogLine& line) const {
    return {{"kind", "guest_log"},           {"who", encode_who(line.who)},
            {"at", format_rfc3339(line.at)}, {"level", level_name(line.level)},
            {"stream", text(line.stream)},   {"message", text(line.message)},
            {"truncated", line.truncated}};
  }
  boost::json::object operator()(const domain::CapabilityEvent& event) const {
    return {{"kind", "capability"},           {"who", encode_who(event.who)},
            {"at", format_rfc3339(event.at)}, {"event", text(event.kind)},
            {"target", text(event.target)},   {"reason", text(event.reason)}};
  }
};

Result<domain::ExecutionIdentity> decode_who(json::Object& from) {
  TRY(json::Object object, from.object("who"));
  domain::ExecutionIdentity who;
  TRY(who.tenant, object.string("tenant"));
  TRY(who.extension, object.string("extension"));
  TRY(who.install, object.string("install"));
  TRY(who.version, object.string("version"));
  TRY(who.request_id, object.string("request_id"));
  TRY(who.trace_id, object.string("trace_id"));
  return who;
}

Result<WallTime> decode_time(json::Object& from, std::string_view name) {
  TRY(const std::string value, from.string(name, 64));
  const auto time = parse_rfc3339(value);
  if (!time) return fail(Kind::invalid, "telemetry.invalid_record", from.path_of(name));
  return *time;
}

Status decode_count(json::Object& from, std::string_view name, std::uint64_t& out) {
  TRY(const std::int64_t value, from.integer(name, 0));
  out = static_cast<std::uint64_t>(value);
  return {};
}

Result<Record> decode_execution(json::Object& from) {
  domain::ExecutionRecord record;
  TRY(record.who, decode_who(from));
  TRY(record.started, decode_time(from, "started"));
  TRY(record.finished, decode_time(from, "finished"));
  TRY(record.end_class, from.string("end_class"));
  TRY(record.code, from.string("code"));
  TRY(const std::int64_t status, from.integer("status", 0, 65535));
  record.status = static_cast<std::uint16_t>(status);
  TRY(record.config_version, from.string("config_version"));
  TRY(record.secrets_version, from.string("secrets_version"));
  TRY_VOID(decode_count(from, "queue_us", record.queue_us));
  TRY_VOID(decode_count(from, "cold_us", record.cold_us));
  TRY_VOID(decode_count(from, "instantiate_us", record.instantiate_us));
  TRY_VOID(decode_count(from, "call_us", record.call_us));
  TRY_VOID(decode_count(from, "cpu_us", record.cpu_us));
  TRY_VOID(decode_count(from, "peak_memory_bytes", record.peak_memory_bytes));
  TRY_VOID(decode_count(from, "host_bytes", record.host_bytes));
  TRY_VOID(decode_count(from, "egress_bytes", record.egress_bytes));
  TRY(const std::int64_t calls,
      from.integer("host_calls", 0, std::numeric_limits<std::uint32_t>::max()));
  record.host_calls = static_cast<std::uint32_t>(calls);
  TRY_VOID(decode_count(from, "response_bytes", record.response_bytes));
  TRY(record.method, from.string("method"));
  TRY(record.path, from.string("path"));
  TRY(record.author_error, from.string("author_error"));
  return record;
}

Result<Record> decode_guest_log(json::Object& from) {
  domain::GuestLogLine line;
  TRY(line.who, decode_who(from));
  TRY(line.at, decode_time(from, "at"));
  TRY(const std::string level, from.string("level"));
  bool known = false;
  for (const LogLevel one : {LogLevel::debug, LogLevel::info, LogLevel::warn, LogLevel::error}) {
    if (level_name(one) != level) continue;
    line.level = one;
    known = true;
  }
  if (!known) return fail(Kind::invalid, "telemetry.invalid_record", from.path_of("level"));
  TRY(line.stream, from.string("stream"));
  TRY(line.message, from.string("message"));
  TRY(line.truncated, from.boolean("truncated"));
  return line;
}

Result<Record> decode_capability(json::Object& from) {
  domain::CapabilityEvent event;
  TRY(event.who, decode_who(from));
  TRY(event.at, decode_time(from, "at"));
  TRY(event.kind, from.string("event"));
  TRY(event.target, from.string("target"));
  TRY(event.reason, from.string("reason"));
  return event;
}

Result<DeliveredRecord> decode(std::string_view line) {
  TRY(const json::Document document, json::Document::parse(line, {.max_bytes = kMaxLine}));
  json::Object root = document.root();
  DeliveredRecord delivered;
  TRY(delivered.id, root.string("id", 128));
  TRY(const std::string kind, root.string("kind", 32));
  if (kind == "execution") {
    TRY(delivered.record, decode_execution(root));
  } else if (kind == "guest_log") {
    TRY(delivered.record, decode_guest_log(root));
  } else if (kind == "capability") {
    TRY(delivered.record, decode_capability(root));
  } else {
    return fail(Kind::invalid, "telemetry.invalid_record", "/kind");
  }
  TRY_VOID(root.finish());
  if (auto* execution = std::get_if<domain::ExecutionRecord>(&delivered.record)) {
    execution->id = delivered.id;
  }
  return delivered;
}

}  // namespace

std::string encode_record(const DeliveredRecord& delivered) {
  boost::json::object object = std::visit(Encoder{}, delivered.record);
  object["id"] = text(delivered.id);
  return boost::json::serialize(object);
}

Result<DeliveredRecord> decode_record(std::string_view line) {
  Result<DeliveredRecord> decoded = decode(line);
  if (decoded) return decoded;
  return fail(Kind::invalid, "telemetry.invalid_record", decoded.error().message);
}

}  // namespace alga::telemetry
