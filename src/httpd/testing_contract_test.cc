#include "httpd/testing_contract.h"

#include <gtest/gtest.h>

namespace alga::httpd::testing {
namespace {

constexpr std::string_view kDocument = R"({
  "paths": {"/things/{id}": {
    "get": {
      "parameters": [
        {"name": "id", "in": "path", "required": true, "schema": {"type": "string"}},
        {"name": "limit", "in": "query", "required": false,
         "schema": {"type": "integer", "minimum": 1, "maximum": 9}},
        {"name": "view", "in": "query", "required": true, "schema": {"enum": ["all", "new"]}},
        {"name": "x-revision", "in": "header", "required": false, "schema": {"type": "integer"}}],
      "responses": {
        "200": {"content": {
          "application/json": {"schema": {"$ref": "#/components/schemas/Thing"}},
          "text/event-stream": {"schema": {"type": "string"}}}},
        "204": {},
        "default": {"content": {"application/json": {"schema": {
          "type": "object", "properties": {"error": {"const": "no"}}, "required": ["error"],
          "additionalProperties": false}}}}},
      "security": [{"key": []}, {"bearer": []}]},
    "put": {
      "parameters": [
        {"name": "id", "in": "path", "required": true, "schema": {"type": "string"}}],
      "requestBody": {"required": true, "content": {"application/json": {
        "schema": {"$ref": "#/components/schemas/Thing"}}}},
      "responses": {"200": {"content": {"application/json": {"schema": {"dependencies": 1}}}}},
      "security": [{"certificate": []}]}}},
  "components": {
    "securitySchemes": {
      "key": {"type": "apiKey", "in": "header", "name": "x-key"},
      "bearer": {"type": "http", "scheme": "bearer"},
      "certificate": {"type": "mutualTLS"}},
    "schemas": {"Thing": {
      "type": "object",
      "properties": {
        "name": {"type": "string", "pattern": "^[a-z]+$"},
        "size": {"type": ["integer", "null"], "minimum": 0, "maximum": 9},
        "state": {"enum": ["on", "off"]},
        "at": {"type": "string", "format": "date-time"},
        "parts": {"type": "array", "items": {"$ref": "#/components/schemas/Thing"}},
        "either": {"anyOf": [{"type": "boolean"}, {"type": "number"}]},
        "texts": {"type": "object", "additionalProperties": {"type": "string"}},
        "whatever": {}},
      "required": ["name"],
      "additionalProperties": false}}}})";

constexpr std::string_view kPattern = "/things/{id}";

class Contracts : public ::testing::Test {
 protected:
  [[nodiscard]] std::string answer(std::uint16_t status, std::string body,
                                   std::string_view method = "GET") const {
    return contract_.fault_of(method, kPattern, json_response(status, std::move(body)));
  }
  [[nodiscard]] static Request get(std::string query) {
    Request request;
    request.query = std::move(query);
    request.params["id"] = "one";
    return request;
  }
  [[nodiscard]] std::string asked(const Request& request, std::string_view method = "GET") const {
    return contract_.fault_of(method, kPattern, request);
  }
  [[nodiscard]] std::string put(std::string body) const {
    Request request = get("");
    request.body = std::move(body);
    return asked(request, "PUT");
  }
  const Contract contract_{kDocument};
};

TEST_F(Contracts, HaveNothingAgainstWhatTheDocumentSays) {
  EXPECT_EQ(answer(200, R"({"name":"a"})"), "");
  EXPECT_EQ(answer(200, R"({"name":"a"})", "HEAD"), "") << "as GET";
  EXPECT_EQ(answer(200, R"({"name":"a","size":9,"state":"on","at":"2026-01-02T03:04:05.678Z",
      "parts":[{"name":"b","size":null}],"either":0.5,"texts":{"x":"y"},"whatever":[{"z":1}]})"),
            "");
  EXPECT_EQ(answer(404, R"({"error":"no"})"), "");
  EXPECT_EQ(contract_.fault_of("GET", kPattern, Response{.status = 204}), "");
  Response stream{.headers = {{"content-type", "text/event-stream; charset=utf-8"}}};
  EXPECT_EQ(contract_.fault_of("GET", kPattern, stream), "");
}

TEST_F(Contracts, NameWhatTheDocumentDoesNotSayOfAnAnswer) {
  for (const auto& [body, fault] : std::initializer_list<std::pair<const char*, const char*>>{
           {"[]", "the body is not of the type \"object\": []"},
           {"{", "the body is no JSON"},
           {"{}", "the body lacks name"},
           {R"({"name":"a","new":1})", "/new is not in the document"},
           {R"({"name":"A"})", R"(/name is not of the pattern "^[a-z]+$": "A")"},
           {R"({"name":"a","size":"1"})", R"(/size is not of the type ["integer","null"]: "1")"},
           {R"({"name":"a","size":-1})", "/size is not of the minimum 0: -1"},
           {R"({"name":"a","size":10})", "/size is not of the maximum 9: 10"},
           {R"({"name":"a","size":1.5})", R"(/size is not of the type ["integer","null"]: 1.5E0)"},
           {R"({"name":"a","state":"?"})", R"(/state is not of the enum ["on","off"]: "?")"},
           {R"({"name":"a","at":"today"})", R"(/at is not of the format "date-time": "today")"},
           {R"({"name":"a","parts":[{"name":"b"},{}]})", "/parts/1 lacks name"},
           {R"({"name":"a","texts":{"x":1}})", R"(/texts/x is not of the type "string": 1)"}}) {
    EXPECT_EQ(answer(200, body), fault) << body;
  }
  EXPECT_TRUE(
      answer(200, R"({"name":"a","either":"?"})").starts_with("/either is not of the anyOf"));
  EXPECT_EQ(answer(404, R"({"error":"yes"})"), R"(/error is not of the const "no": "yes")");
  EXPECT_EQ(answer(201, "{}"), "the document knows no status 201");
  EXPECT_EQ(answer(307, "{}"), "the document knows no status 307") << "no error is a default";
  EXPECT_EQ(answer(204, "{}"), "the document knows no body here");
  EXPECT_EQ(answer(200, "{}", "POST"), "the operation is not in the document");
  EXPECT_EQ(answer(200, "{}", "PUT"), "this test does not understand the word dependencies");
  const Response text{.headers = {{"content-type", "text/plain"}}, .body = "{}"};
  EXPECT_EQ(contract_.fault_of("GET", kPattern, text),
            "the document knows no answer of the type 'text/plain' here");
}

TEST_F(Contracts, NameWhatTheDocumentDoesNotSayOfARequest) {
  EXPECT_EQ(asked(get("view=new&limit=9")), "");
  EXPECT_EQ(asked(get("")), "the document asks for the query view");
  EXPECT_EQ(asked(get("view=old")), R"(query view is not of the enum ["all","new"]: "old")");
  EXPECT_EQ(asked(get("view=all&limit=0")), "query limit is not of the minimum 1: 0");
  EXPECT_EQ(asked(get("view=all&limit=x")), R"(query limit is not of the type "integer": "x")");
  EXPECT_EQ(asked(get("view=all&limti=1")), "the document knows no query limti");
  Request request = get("view=all");
  request.headers = {{"X-Revision", "7"}, {"authorization", "?"}, {"x-key", "?"}};
  EXPECT_EQ(asked(request), "");
  request.headers[0].value = "seven";
  EXPECT_EQ(asked(request), R"(header x-revision is not of the type "integer": "seven")");
  request.headers[0].name = "x-unheard-of";
  EXPECT_EQ(asked(request), "the document knows no header x-unheard-of");
  Request with_body = get("view=all");
  with_body.body = "{}";
  EXPECT_EQ(asked(with_body), "the document knows no body of the request");
  EXPECT_EQ(put(R"({"name":"a"})"), "");
  EXPECT_EQ(put(""), "the document asks for a body");
  EXPECT_EQ(put("{"), "the request's body is no JSON");
  EXPECT_EQ(put(R"({"name":7})"), R"(/name is not of the type "string": 7)");
}

TEST_F(Contracts, NameWhatTheDocumentAsksOfACaller) {
  const auto caller = [&](const Request& request, std::string_view method = "GET") {
    return contract_.fault_of_caller(method, kPattern, request);
  };
  Request request = get("view=all");
  EXPECT_EQ(caller(request), R"(the document asks for [{"key":[]},{"bearer":[]}])");
  request.headers = {{"x-key", "?"}};
  EXPECT_EQ(caller(request), "");
  request.headers = {{"authorization", "?"}};
  EXPECT_EQ(caller(request), "");
  EXPECT_EQ(caller(request, "PUT"), R"(the document asks for [{"certificate":[]}])");
  request.peer.certificate_names = {"runner"};
  EXPECT_EQ(caller(request, "PUT"), "");
}

}  // namespace
}  // namespace alga::httpd::testing
