#include "egress/http_client.h"

#include <utility>

#include "async/await_callback.h"
#include "egress/outgoing_headers.h"

namespace alga::egress {
namespace {

constexpr std::size_t kMaxIdleHandles = 16;
constexpr const char* kPool = "own";

/// curl asks about once a second while nothing happens.
int has_to_stop(void* stop, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return static_cast<const std::stop_token*>(stop)->stop_requested() ? 1 : 0;
}

}  // namespace

HttpClient::HttpClient(std::shared_ptr<CurlLoop> loop) : loop_(std::move(loop)) {}

HttpClient::~HttpClient() {
  for (CURL* easy : idle_) curl_easy_cleanup(easy);
}

Result<TransferSpec> HttpClient::prepare(ClientRequest request) {
  TRY(std::string method, outgoing_method(request.method));
  TRY(domain::Headers headers, outgoing_headers(request.headers, {}));
  // A guest may not say how deep it stands; these requests are ours, and have to.
  if (const auto depth = domain::find_header(request.headers, domain::depth_header)) {
    if (!domain::is_header_value(*depth)) {
      return fail(Kind::invalid, "egress.invalid_request", "the depth has a malformed value");
    }
    headers.push_back({std::string(domain::depth_header), std::string(*depth)});
  }
  return TransferSpec{.method = std::move(method),
                      .url = std::move(request.url),
                      .headers = std::move(headers),
                      .body = std::move(request.body),
                      .body_file = std::move(request.body_file),
                      .deadline = std::chrono::steady_clock::now() + request.timeout,
                      .max_response_bytes = request.max_response_bytes,
                      .tls = std::move(request.tls),
                      .connect_to = std::move(request.address),
                      .sink_success_only = request.sink_success_only};
}

std::uint64_t HttpClient::send(ClientRequest request, Callback<domain::HttpResponse> done) {
  if (!request.body_file.empty()) {
    return loop_->reject(
        {Kind::internal, "egress.invalid_request", "a file is only sent by a blocking request"},
        std::move(done));
  }
  Result<TransferSpec> spec = prepare(std::move(request));
  if (!spec) return loop_->reject(std::move(spec).error(), std::move(done));
  return loop_->start(std::move(*spec), kPool, std::move(done));
}

async::Task<Result<domain::HttpResponse>> HttpClient::fetch(ClientRequest request) {
  return async::await_callback<domain::HttpResponse>(
      [this, request = std::move(request)](Callback<domain::HttpResponse> done) mutable {
        send(std::move(request), std::move(done));
      });
}

Result<domain::HttpResponse> HttpClient::send_blocking(ClientRequest request,
                                                       domain::ByteSink sink) {
  const std::stop_token stop = request.stop;
  const auto cancelled = [] {
    return fail(Kind::unavailable, "egress.cancelled", "the request was cancelled");
  };
  if (stop.stop_requested()) return cancelled();
  TRY(TransferSpec spec, prepare(std::move(request)));
  spec.sink = std::move(sink);
  Transfer transfer(std::move(spec));
  CURL* easy = borrow();
  Status prepared = transfer.prepare(easy, Transfer::EndedBy::curl);
  if (prepared && stop.stop_possible()) {
    ALGA_CHECK(curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, has_to_stop) == CURLE_OK &&
               curl_easy_setopt(easy, CURLOPT_XFERINFODATA, &stop) == CURLE_OK &&
               curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L) == CURLE_OK);
  }
  Result<domain::HttpResponse> outcome =
      prepared ? transfer.finish(easy, curl_easy_perform(easy))
               : Result<domain::HttpResponse>(std::unexpected(std::move(prepared).error()));
  give_back(easy);
  if (!outcome && stop.stop_requested()) return cancelled();
  return outcome;
}

CURL* HttpClient::borrow() {
  {
    const std::scoped_lock lock(mutex_);
    if (!idle_.empty()) {
      CURL* easy = idle_.back();
      idle_.pop_back();
      return easy;
    }
  }
  CURL* easy = curl_easy_init();
  ALGA_CHECK(easy != nullptr);
  return easy;
}

void HttpClient::give_back(CURL* easy) {
  curl_easy_reset(easy);  // keeps connections, forgets everything that pointed to the transfer
  {
    const std::scoped_lock lock(mutex_);
    if (idle_.size() < kMaxIdleHandles) {
      idle_.push_back(easy);
      return;
    }
  }
  curl_easy_cleanup(easy);
}

}  // namespace alga::egress
