#include "telemetry/process_metrics.h"

#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

namespace alga::telemetry {
namespace {

constexpr std::chrono::duration<double> none{0};

/// The fields of /proc/self/stat from the third on: the second, a name in brackets, may hold
/// anything.
std::vector<std::string> stat_fields() {
  std::ifstream file("/proc/self/stat");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const std::size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return {};
  std::istringstream rest(text.substr(name_end + 1));
  return {std::istream_iterator<std::string>(rest), {}};
}

/// proc(5) counts fields from one, the process id.
std::uint64_t number(const std::vector<std::string>& fields, std::size_t field) {
  const std::size_t at = field - 3;
  return at < fields.size() ? std::strtoull(fields[at].c_str(), nullptr, 10) : 0;
}

double seconds(std::uint64_t ticks) {
  return static_cast<double>(ticks) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

double now(clockid_t clock) {
  timespec at{};
  ::clock_gettime(clock, &at);
  return static_cast<double>(at.tv_sec) + static_cast<double>(at.tv_nsec) / 1e9;
}

std::uint64_t count_open_files() {
  std::error_code failed;
  std::uint64_t count = 0;
  for (std::filesystem::directory_iterator entry("/proc/self/fd", failed), end;
       !failed && entry != end; entry.increment(failed)) {
    ++count;
  }
  return count == 0 ? 0 : count - 1;  // one is that of this very reading
}

constexpr std::size_t user_time = 14, system_time = 15, threads = 20, start_time = 22;
constexpr std::size_t virtual_size = 23, resident_pages = 24;

}  // namespace

std::optional<ProcessUse> read_process_use() {
  const std::vector<std::string> fields = stat_fields();
  if (fields.empty()) return std::nullopt;
  ProcessUse use;
  use.resident_bytes =
      number(fields, resident_pages) * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  use.virtual_bytes = number(fields, virtual_size);
  use.threads = number(fields, threads);
  use.cpu_seconds = seconds(number(fields, user_time) + number(fields, system_time));
  // The kernel counts from its own start, sleep included.
  use.start_seconds =
      now(CLOCK_REALTIME) - now(CLOCK_BOOTTIME) + seconds(number(fields, start_time));
  use.open_files = count_open_files();
  rlimit most{};
  if (::getrlimit(RLIMIT_NOFILE, &most) == 0) use.most_open_files = most.rlim_cur;
  return use;
}

std::chrono::duration<double> process_age() {
  const std::vector<std::string> fields = stat_fields();
  if (fields.empty()) return none;
  return std::chrono::duration<double>{now(CLOCK_BOOTTIME) - seconds(number(fields, start_time))};
}

}  // namespace alga::telemetry
