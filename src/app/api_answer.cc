// Answers of the API for people: a table for a list, lines for an object.

#include <algorithm>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "app/api_operations.h"

namespace alga::app {
namespace {

using boost::json::array;
using boost::json::object;
using boost::json::value;

constexpr std::size_t kWidest = 60;

/// What came over the network may hold anything; a terminal gets printable characters only.
std::string printable(std::string text) {
  std::ranges::replace_if(text, [](unsigned char c) { return c < 0x20 || c == 0x7F; }, ' ');
  return text;
}

std::string cell(const value& from) {
  if (from.is_null()) return "-";
  if (from.is_string()) return printable(std::string(from.get_string()));
  if (from.is_array() &&
      std::ranges::all_of(from.get_array(), [](const value& one) { return one.is_string(); })) {
    std::string text;
    for (const value& one : from.get_array()) text += (text.empty() ? "" : ", ") + cell(one);
    return text.empty() ? "-" : text;
  }
  return printable(boost::json::serialize(from));
}

bool is_simple(const value& from) { return !from.is_object() && !from.is_array(); }

std::string padded(std::string text, std::size_t width) {
  if (text.size() > width) text = text.substr(0, width - 3) + "...";
  text.resize(width, ' ');
  return text;
}

std::string trimmed(std::string line) {
  line.erase(line.find_last_not_of(' ') + 1);
  return line + "\n";
}

std::string table(const array& rows) {
  std::vector<std::string> names;
  for (const value& row : rows) {
    for (const auto& [name, member] : row.get_object()) {
      if (is_simple(member) && std::ranges::find(names, std::string(name)) == names.end()) {
        names.emplace_back(name);
      }
    }
  }
  std::vector<std::size_t> widths;
  for (const std::string& name : names) {
    std::size_t width = name.size();
    for (const value& row : rows) {
      const value* member = row.get_object().if_contains(name);
      if (member != nullptr) width = std::max(width, cell(*member).size());
    }
    widths.push_back(std::min(width, kWidest));
  }
  std::string text;
  std::string line;
  for (std::size_t i = 0; i < names.size(); ++i) line += padded(names[i], widths[i]) + "  ";
  text += trimmed(std::move(line));
  for (const value& row : rows) {
    line.clear();
    for (std::size_t i = 0; i < names.size(); ++i) {
      const value* member = row.get_object().if_contains(names[i]);
      line += padded(member == nullptr ? "-" : cell(*member), widths[i]) + "  ";
    }
    text += trimmed(std::move(line));
  }
  return text;
}

bool is_table(const value& from) {
  return from.is_array() && !from.get_array().empty() &&
         std::ranges::all_of(from.get_array(), [](const value& row) { return row.is_object(); });
}

std::string lines(const object& from, const std::string& indent) {
  std::string text;
  for (const auto& [name, member] : from) {
    std::string key(name);
    if (member.is_object() && !member.get_object().empty()) {
      text += indent + key + ":\n" + lines(member.get_object(), indent + "  ");
    } else if (is_table(member)) {
      text += indent + key + ":\n" + table(member.get_array());
    } else {
      text += indent + key + ": " + cell(member) + "\n";
    }
  }
  return text;
}

}  // namespace

std::string api_answer_text(std::string_view json_body) {
  boost::system::error_code error;
  value body = boost::json::parse(json_body, error);
  if (error || !body.is_object()) return std::string(json_body);
  const object& root = body.get_object();
  if (root.size() != 1) return lines(root, "");
  const auto& [name, only] = *root.begin();
  if (is_table(only)) return table(only.get_array());
  if (only.is_array() && only.get_array().empty()) return "no " + std::string(name) + "\n";
  if (only.is_object()) return lines(only.get_object(), "");
  return lines(root, "");
}

}  // namespace alga::app
