#include "httpd/message.h"

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include "httpd/url.h"

namespace alga::httpd {

std::optional<std::string> Request::query_param(std::string_view name) const {
  for (auto& [key, value] : parse_query(query)) {
    if (key == name) return std::move(value);
  }
  return std::nullopt;
}

void Response::set(std::string_view name, std::string value) {
  std::erase_if(headers, [&](const domain::Header& header) { return iequals(header.name, name); });
  headers.push_back({std::string(name), std::move(value)});
}

Response json_response(std::uint16_t status, std::string json) {
  Response response;
  response.status = status;
  response.headers.push_back({"content-type", "application/json"});
  response.body = std::move(json);
  return response;
}

Response problem_response(std::uint16_t status, std::string_view code, std::string_view message,
                          std::string_view request_id) {
  // The order of the members is the order of the contract.
  boost::json::object error;
  error["code"] = code;
  error["message"] = message;
  error["request_id"] = request_id;
  boost::json::object body;
  body["error"] = std::move(error);
  Response response = json_response(status, boost::json::serialize(body));
  response.code = code;
  return response;
}

Response error_response(const Error& error, std::string_view request_id) {
  Response response =
      problem_response(static_cast<std::uint16_t>(http_status(error.kind)), error.code,
                       error.message.empty() ? error.code : error.message, request_id);
  if (error.retry_after_s > 0) response.set("retry-after", std::to_string(error.retry_after_s));
  return response;
}

}  // namespace alga::httpd
