#pragma once

#include <boost/json.hpp>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <string_view>

#include "httpd/message.h"
#include "json/parse.h"

namespace alga::httpd::testing {

/// Holds what is asked and answered to the OpenAPI document, for tests. A word of a schema that is
/// not understood here is a fault, so that no new one goes unchecked. Immutable; any thread.
class Contract {
 public:
  explicit Contract(std::string_view document);
  [[nodiscard]] static Contract of_file(const std::string& path);

  /// What the document does not say of this answer of the route; empty when it says all of it. The
  /// text of a stream or of a file is not looked at.
  [[nodiscard]] std::string fault_of(std::string_view method, std::string_view pattern,
                                     const Response& response) const;

  /// What the document does not say of a request: its path, query and body, and headers that no
  /// operation has.
  [[nodiscard]] std::string fault_of(std::string_view method, std::string_view pattern,
                                     const Request& request) const;

  /// Why the document does not let the caller of a request in that was taken; empty when it names
  /// one of the credentials that came along.
  [[nodiscard]] std::string fault_of_caller(std::string_view method, std::string_view pattern,
                                            const Request& request) const;

 private:
  [[nodiscard]] const boost::json::object* find(std::string_view method,
                                                std::string_view pattern) const;
  [[nodiscard]] std::string fault_of_parameters(const boost::json::object& operation,
                                                const Request& request) const;
  [[nodiscard]] std::string fault_of_body(const boost::json::object& operation,
                                          const Request& request) const;
  [[nodiscard]] bool presents(const Request& request, std::string_view scheme) const;
  [[nodiscard]] std::string fault(const json::Value& schema, const json::Value& value,
                                  const std::string& where) const;
  [[nodiscard]] std::string fault_of_word(const boost::json::object& schema, std::string_view word,
                                          const json::Value& rule, const json::Value& value,
                                          const std::string& where) const;
  [[nodiscard]] std::string fault_of_members(const boost::json::object& schema,
                                             const boost::json::object& value,
                                             const std::string& where) const;
  [[nodiscard]] std::string fault_of_items(const json::Value& schema,
                                           const boost::json::array& value,
                                           const std::string& where) const;
  void keep(const json::Value& value);

  const json::Value document_;
  std::map<std::string, std::regex, std::less<>> patterns_;  ///< each that the document has
  std::set<std::string, std::less<>> headers_;               ///< of any operation
};

}  // namespace alga::httpd::testing
