#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "alga_bridge.h"
#include "base/bytes.h"
#include "base/result.h"

// The C interface of bridge/ as C++ values. Only this layer includes alga_bridge.h.

namespace alga::engine {

[[nodiscard]] inline std::string_view view(ab_str text) { return {text.data, text.len}; }
[[nodiscard]] inline ab_str to_ab(std::string_view text [[clang::lifetimebound]]) {
  return {text.data(), text.size()};
}
[[nodiscard]] inline std::string_view view(ab_view bytes) {
  return {reinterpret_cast<const char*>(bytes.data), bytes.len};
}
[[nodiscard]] inline ab_view to_ab_view(std::string_view bytes [[clang::lifetimebound]]) {
  return {reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()};
}
/// Gives the bytes away; they are freed when the bridge is done with them.
[[nodiscard]] ab_owned give(std::string bytes);

/// Takes the error (which may be null) and says it in our terms.
[[nodiscard]] std::unexpected<Error> bridge_error(ab_status status, ab_error* error);

struct EngineDeleter {
  void operator()(ab_engine* engine) const { ab_engine_free(engine); }
};
using EngineHandle = std::unique_ptr<ab_engine, EngineDeleter>;

/// The settings that decide whether artefacts fit; the same in the server and in its workers.
[[nodiscard]] ab_engine_config artefact_settings();

/// An engine that compiles and describes only.
[[nodiscard]] Result<EngineHandle> compile_engine();

class Component {
 public:
  explicit Component(ab_component* raw) : raw_(raw) {}
  Component(const Component&) = delete;
  Component& operator=(const Component&) = delete;
  ~Component() { ab_component_release(raw_); }
  [[nodiscard]] ab_component* raw() const { return raw_; }
  [[nodiscard]] std::uint64_t image_bytes() const { return ab_component_image_bytes(raw_); }

 private:
  ab_component* raw_;
};

}  // namespace alga::engine
