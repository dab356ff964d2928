#pragma once

#include <pthread.h>

#include <string>

namespace alga::async {

/// Names the calling thread for debuggers and `top`; the kernel keeps 15 characters.
inline void name_this_thread(const std::string& name) {
  pthread_setname_np(pthread_self(), name.substr(0, 15).c_str());
}

}  // namespace alga::async
