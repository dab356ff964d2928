#include "domain/secret_map.h"

#include <algorithm>
#include <boost/json/basic_parser_impl.hpp>
#include <limits>

#include "base/bytes.h"

namespace alga::domain {

namespace bj = boost::json;

/// Feeds the library's parser straight into the arena: a DOM would leave copies on the heap.
class SecretJsonHandler {
 public:
  static constexpr std::size_t max_object_size = SecretMap::max_secrets;
  static constexpr std::size_t max_array_size = 1;
  static constexpr std::size_t max_key_size = 256;
  static constexpr std::size_t max_string_size = SecretMap::max_json_bytes;

  void fill(SecretMap& map) { map_ = &map; }

  bool on_document_begin(bj::error_code&) { return true; }
  bool on_document_end(bj::error_code&) { return true; }
  bool on_object_begin(bj::error_code& ec) { return refuse_unless(++objects_ == 1, ec); }
  bool on_object_end(std::size_t, bj::error_code&) { return true; }
  bool on_array_begin(bj::error_code& ec) { return refuse_unless(false, ec); }
  bool on_array_end(std::size_t, bj::error_code& ec) { return refuse_unless(false, ec); }
  bool on_key_part(bj::string_view part, std::size_t, bj::error_code& ec) {
    return refuse_unless(map_->append(part), ec);
  }
  bool on_key(bj::string_view part, std::size_t size, bj::error_code& ec) {
    if (!refuse_unless(map_->append(part), ec)) return false;
    entry_.name_size = static_cast<std::uint32_t>(size);
    entry_.name_at = static_cast<std::uint32_t>(map_->used_ - size);
    return true;
  }
  bool on_string_part(bj::string_view part, std::size_t, bj::error_code& ec) {
    return refuse_unless(map_->append(part), ec);
  }
  bool on_string(bj::string_view part, std::size_t size, bj::error_code& ec) {
    if (!refuse_unless(objects_ == 1 && map_->append(part), ec)) return false;
    entry_.value_size = static_cast<std::uint32_t>(size);
    entry_.value_at = static_cast<std::uint32_t>(map_->used_ - size);
    map_->entries_.push_back(entry_);
    return true;
  }
  bool on_number_part(bj::string_view, bj::error_code& ec) { return refuse_unless(false, ec); }
  bool on_int64(std::int64_t, bj::string_view, bj::error_code& ec) {
    return refuse_unless(false, ec);
  }
  bool on_uint64(std::uint64_t, bj::string_view, bj::error_code& ec) {
    return refuse_unless(false, ec);
  }
  bool on_double(double, bj::string_view, bj::error_code& ec) { return refuse_unless(false, ec); }
  bool on_bool(bool, bj::error_code& ec) { return refuse_unless(false, ec); }
  bool on_null(bj::error_code& ec) { return refuse_unless(false, ec); }
  bool on_comment_part(bj::string_view, bj::error_code& ec) { return refuse_unless(false, ec); }
  bool on_comment(bj::string_view, bj::error_code& ec) { return refuse_unless(false, ec); }

 private:
  static bool refuse_unless(bool good, bj::error_code& ec) {
    if (!good) ec = bj::error::syntax;
    return good;
  }
  SecretMap* map_ = nullptr;
  SecretMap::Entry entry_{};
  int objects_ = 0;
};

namespace {

std::unexpected<Error> malformed(std::string reason) {
  return fail(Kind::invalid, "secret.malformed", std::move(reason));
}

/// Escapes by RFC 8259 what must be escaped. Calls `put` for every byte.
template <class Put>
void escape(std::string_view text, Put put) {
  constexpr char digits[] = "0123456789abcdef";
  for (char c : text) {
    auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      put('\\');
      put(c);
    } else if (byte < 0x20) {
      for (char fixed : std::string_view{"\\u00"}) put(fixed);
      put(digits[byte >> 4U]);
      put(digits[byte & 0x0FU]);
    } else {
      put(c);
    }
  }
}

}  // namespace

bool is_secret_name(std::string_view name) {
  return !name.empty() && name.size() <= 128 && !name.contains("..") &&
         std::ranges::all_of(name, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '_' || c == '.' || c == '-';
         });
}

bool SecretMap::append(std::string_view part) {
  if (part.size() > arena_.size() - used_) return false;
  std::ranges::copy(as_bytes(part), arena_.bytes().begin() + static_cast<std::ptrdiff_t>(used_));
  used_ += part.size();
  return true;
}

Status SecretMap::settle() {
  if (entries_.size() > max_secrets) return malformed("too many secrets");
  std::ranges::sort(entries_, {}, [this](const Entry& entry) { return name_of(entry); });
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    std::string_view name = name_of(entries_[i]);
    if (name.empty() || name.size() > 256) return malformed("a secret's name is empty or too long");
    if (i > 0 && name_of(entries_[i - 1]) == name) return malformed("a secret's name occurs twice");
  }
  find_masked();
  return {};
}

void SecretMap::find_masked() {
  const auto add = [this](std::size_t at, std::size_t size) {
    if (size < shortest_masked) return;
    masked_.emplace_back(static_cast<std::uint32_t>(at), static_cast<std::uint32_t>(size));
  };
  for (const Entry& entry : entries_) {
    const std::string_view value = text(entry.value_at, entry.value_size);
    add(entry.value_at, value.size());
    if (!value.contains('\n')) continue;
    for (std::size_t begin = 0; begin < value.size();) {
      const std::size_t end = std::min(value.find('\n', begin), value.size());
      add(entry.value_at + begin, end - begin);
      begin = end + 1;
    }
  }
  // A value that holds another is found before it.
  std::ranges::sort(masked_, std::ranges::greater{},
                    &std::pair<std::uint32_t, std::uint32_t>::second);
}

std::string SecretMap::mask(std::string_view given) const {
  constexpr std::string_view mark = "[secret]";
  std::string masked(given);
  for (const auto& [at, size] : masked_) {
    const std::string_view value = text(at, size);
    for (std::size_t found = masked.find(value); found != std::string::npos;
         found = masked.find(value, found + mark.size())) {
      masked.replace(found, value.size(), mark);
    }
  }
  return masked;
}

std::size_t SecretMap::longest_masked() const {
  return masked_.empty() ? 0 : masked_.front().second;
}

Result<SecretMap> SecretMap::from_json(const crypto::LockedBytes& json) {
  if (json.size() > max_json_bytes) return malformed("the secrets are too large");
  // Unescaped text is never longer than its escaped form.
  SecretMap map(json.size());
  bj::parse_options options;
  options.max_depth = 1;
  bj::basic_parser<SecretJsonHandler> parser{options};
  parser.handler().fill(map);
  bj::error_code ec;
  std::size_t used = parser.write_some(false, json.reveal_text().data(), json.size(), ec);
  crypto::wipe_stack();
  if (ec || used != json.size() || !parser.done()) {
    return malformed("the secrets are not a JSON object of strings");
  }
  TRY_VOID(map.settle());
  return map;
}

Result<SecretMap> SecretMap::from_pairs(
    const std::vector<std::pair<std::string_view, std::string_view>>& pairs) {
  std::size_t total = 0;
  for (const auto& [name, value] : pairs) {
    if (!is_utf8(name) || !is_utf8(value)) return malformed("names and values must be UTF-8");
    total += name.size() + value.size();
    if (total > max_json_bytes) return malformed("the secrets are too large");
  }
  SecretMap map(total);
  for (const auto& [name, value] : pairs) {
    Entry entry{static_cast<std::uint32_t>(map.used_), static_cast<std::uint32_t>(name.size()),
                static_cast<std::uint32_t>(map.used_ + name.size()),
                static_cast<std::uint32_t>(value.size())};
    ALGA_CHECK(map.append(name) && map.append(value));
    map.entries_.push_back(entry);
  }
  TRY_VOID(map.settle());
  return map;
}

crypto::LockedBytes SecretMap::to_json() const {
  auto write = [this](auto put) {
    char separator = '{';
    for (const Entry& entry : entries_) {
      put(std::exchange(separator, ','));
      put('"');
      escape(name_of(entry), put);
      for (char c : std::string_view{"\":\""}) put(c);
      escape(text(entry.value_at, entry.value_size), put);
      put('"');
    }
    if (entries_.empty()) put('{');
    put('}');
  };
  std::size_t size = 0;
  write([&](char) { ++size; });
  crypto::LockedBytes out(size);
  std::size_t at = 0;
  write([&](char c) { out.bytes()[at++] = static_cast<std::uint8_t>(c); });
  return out;
}

std::optional<std::string_view> SecretMap::reveal(std::string_view name) const {
  auto found = std::ranges::lower_bound(entries_, name, {},
                                        [this](const Entry& entry) { return name_of(entry); });
  if (found == entries_.end() || name_of(*found) != name) return std::nullopt;
  return text(found->value_at, found->value_size);
}

std::vector<std::string_view> SecretMap::names() const {
  std::vector<std::string_view> out;
  out.reserve(entries_.size());
  for (const Entry& entry : entries_) out.push_back(name_of(entry));
  return out;
}

}  // namespace alga::domain
