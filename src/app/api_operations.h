#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "domain/http.h"

namespace alga::app {

/// Where a parameter of an operation travels.
enum class Place : std::uint8_t { path, query, body };

/// How its words on the command line are read.
enum class Shape : std::uint8_t {
  text,
  integer,  ///< `none` is null where the document permits it
  flag,     ///< no word: present means true
  texts,    ///< may be repeated; one empty word is the empty list
  pairs,    ///< `KEY=VALUE`, may be repeated
  json,     ///< JSON text, or `@FILE`
  secret,   ///< never a word: a file, standard input or a prompt
  file,     ///< a file that is the body
};

struct Parameter {
  std::string name;    ///< in the document
  std::string option;  ///< on the command line, without dashes
  Place place = Place::query;
  Shape shape = Shape::text;
  bool required = false;
  bool nullable = false;
  std::string description;
};

/// One operation of the OpenAPI document that carries `x-command`: the words of its command.
struct Operation {
  std::vector<std::string> words;
  std::string method, path, summary, caller;
  std::vector<Parameter> parameters;
  std::string body_type;  ///< media type; empty: no body
  bool takes_tenant = false;
};

/// The commands that the document describes, in its order. Error: `internal.unexpected`.
[[nodiscard]] Result<std::vector<Operation>> api_operations(std::string_view openapi);

/// What the caller typed, by the parameter's name in the document. Secrets and files are already
/// their content.
using Words = std::map<std::string, std::vector<std::string>, std::less<>>;

struct ApiRequest {
  std::string method, target;  ///< target: path and query
  std::optional<std::string> body;
  std::string content_type;
};

/// Puts the words where the operation wants them. Error: `admin.bad_argument`.
[[nodiscard]] Result<ApiRequest> api_request(const Operation& operation, const Words& words);

/// An answer for people: a table for a list, lines for an object.
[[nodiscard]] std::string api_answer_text(std::string_view json_body);

}  // namespace alga::app
