// SPDX-License-Identifier: Apache-2.0
//
// The thread-local message behind esp_last_error.
#include <stdarg.h>
#include <stdio.h>

#include "internal.h"

namespace {
thread_local char message[512];
}

namespace esp {

esp_status fail(esp_status status, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  return status;
}

}  // namespace esp

extern "C" const char* esp_last_error(void) noexcept {
  return message;
}
