#include "async/spawn.h"

#include <boost/system/system_error.hpp>
#include <exception>

namespace alga::async {

void spawn(boost::asio::io_context& context, Task<void> task) {
  boost::asio::co_spawn(context, std::move(task), [](std::exception_ptr problem) {
    if (!problem) return;
    try {
      std::rethrow_exception(problem);
    } catch (const boost::system::system_error& error) {
      if (error.code() == boost::asio::error::operation_aborted) return;
      std::terminate();
    } catch (...) {
      std::terminate();
    }
  });
}

}  // namespace alga::async
