# SPDX-License-Identifier: Apache-2.0
# -DESPALIER_SANITIZE=address,undefined (or thread) instruments the library and the case lists.
set(ESPALIER_SANITIZE "" CACHE STRING "comma-separated sanitizers, empty for none")
set(ESPALIER_SANITIZE_FLAGS "")
if(ESPALIER_SANITIZE)
  set(ESPALIER_SANITIZE_FLAGS -fsanitize=${ESPALIER_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer -g)
endif()
