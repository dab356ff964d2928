// A record that is taken is written as one line and read back the same.
#include <cstddef>
#include <cstdint>

#include "base/bytes.h"
#include "telemetry/json_text.h"
#include "telemetry/record_json.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto record = alga::telemetry::decode_record(text)) {
    const std::string line = alga::telemetry::encode_record(*record);
    ALGA_CHECK(line.find('\n') == std::string::npos);
    const auto again = alga::telemetry::decode_record(line);
    ALGA_CHECK(again.has_value());
    ALGA_CHECK(alga::telemetry::encode_record(*again) == line);
  }
  std::string safe;
  alga::telemetry::append_json_string(safe, text, 100);
  ALGA_CHECK(alga::is_utf8(safe));
  for (const char c : safe) ALGA_CHECK(static_cast<unsigned char>(c) >= 0x20 && c != 0x7F);
  ALGA_CHECK(safe.size() <= 6 * 100 + 5);
  return 0;
}
