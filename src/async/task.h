#pragma once

#include <boost/asio/awaitable.hpp>

namespace alga::async {

/// A coroutine on an I/O thread. Rules: parameters by value; name what you await; nothing blocks.
template <class T>
using Task = boost::asio::awaitable<T>;

}  // namespace alga::async
