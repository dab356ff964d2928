#include "telemetry/otlp_exporter.h"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <cstdint>
#include <iterator>
#include <utility>

#include "async/thread_name.h"

namespace alga::telemetry {
namespace {

constexpr int attempts = 3;
constexpr int status_error = 2;  // STATUS_CODE_ERROR

boost::json::object attribute(std::string_view key, std::string_view value) {
  return {{"key", key}, {"value", boost::json::object{{"stringValue", value}}}};
}

int kind_number(domain::Span::Kind kind) {
  return kind == domain::Span::Kind::server ? 2 : 1;  // SPAN_KIND_SERVER, SPAN_KIND_INTERNAL
}

boost::json::object span_json(const domain::Span& span) {
  const auto since =
      std::chrono::duration_cast<std::chrono::microseconds>(span.start.time_since_epoch());
  const std::uint64_t start = static_cast<std::uint64_t>(since.count()) + span.start_offset_us;
  boost::json::object json{{"traceId", span.trace_id},
                           {"spanId", span.span_id},
                           {"name", span.name},
                           {"kind", kind_number(span.kind)},
                           {"startTimeUnixNano", std::to_string(start * 1000)},
                           {"endTimeUnixNano", std::to_string((start + span.duration_us) * 1000)}};
  if (!span.parent_id.empty()) json["parentSpanId"] = span.parent_id;
  auto& attributes = json["attributes"].emplace_array();
  for (const auto& [key, value] : span.attributes) attributes.push_back(attribute(key, value));
  if (span.failed) json["status"] = boost::json::object{{"code", status_error}};
  return json;
}

}  // namespace

std::string encode_otlp(const std::vector<domain::Span>& spans, std::string_view service) {
  boost::json::array list;
  for (const domain::Span& span : spans) list.push_back(span_json(span));
  boost::json::object scope{{"scope", boost::json::object{{"name", "alga"}}},
                            {"spans", std::move(list)}};
  boost::json::object resource{
      {"resource",
       boost::json::object{{"attributes", boost::json::array{attribute("service.name", service)}}}},
      {"scopeSpans", boost::json::array{std::move(scope)}}};
  return boost::json::serialize(
      boost::json::object{{"resourceSpans", boost::json::array{std::move(resource)}}});
}

std::string otlp_traces_url(std::string url) {
  const std::size_t host = url.find("://");
  const std::size_t path = host == std::string::npos ? host : url.find('/', host + 3);
  if (path != std::string::npos && path + 1 < url.size()) return url;
  if (path != std::string::npos) url.pop_back();
  return url + "/v1/traces";
}

OtlpExporter::OtlpExporter(Options options, Send send, Metrics& metrics, Logger log)
    : options_(std::move(options)),
      send_(std::move(send)),
      exported_(metrics.counter("alga_spans_exported_total", "Spans that the collector took")),
      dropped_(metrics.counter("alga_spans_dropped_total",
                               "Spans that did not fit the queue or that nobody took")),
      log_(std::move(log)) {
  thread_ = std::thread([this] {
    async::name_this_thread("spans");
    run();
  });
}

OtlpExporter::~OtlpExporter() {
  {
    const std::scoped_lock lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void OtlpExporter::span(domain::Span span) noexcept {
  try {
    const std::scoped_lock lock(mutex_);
    if (queue_.size() >= options_.max_queued) return dropped_.add();
    queue_.push_back(std::move(span));
    if (queue_.size() == options_.max_batch) wake_.notify_all();
  } catch (...) {  // out of memory: a span is not worth the process
    dropped_.add();
  }
}

void OtlpExporter::run() {
  std::unique_lock lock(mutex_);
  while (!stop_ || !queue_.empty()) {
    wake_.wait_for(lock, options_.interval,
                   [this] { return stop_ || queue_.size() >= options_.max_batch; });
    if (queue_.empty()) continue;
    const auto size = static_cast<std::ptrdiff_t>(std::min(queue_.size(), options_.max_batch));
    std::vector<domain::Span> batch(std::make_move_iterator(queue_.begin()),
                                    std::make_move_iterator(queue_.begin() + size));
    queue_.erase(queue_.begin(), queue_.begin() + size);
    lock.unlock();
    deliver(batch);
    lock.lock();
  }
}

void OtlpExporter::deliver(const std::vector<domain::Span>& batch) {
  const std::string body = encode_otlp(batch, options_.service);
  for (int attempt = 1; attempt <= attempts; ++attempt) {
    const Status sent = send_(body);
    if (sent) {
      exported_.add(static_cast<double>(batch.size()));
      complained_ = false;
      return;
    }
    if (!std::exchange(complained_, true)) {
      log_.warn("the collector of traces takes nothing",
                {{"code", sent.error().code}, {"reason", sent.error().message}});
    }
    std::unique_lock lock(mutex_);
    if (stop_ || sent.error().kind == Kind::invalid || attempt == attempts) break;
    wake_.wait_for(lock, options_.retry_pause * attempt, [this] { return stop_; });
  }
  dropped_.add(static_cast<double>(batch.size()));
}

}  // namespace alga::telemetry
