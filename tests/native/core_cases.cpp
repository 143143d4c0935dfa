// SPDX-License-Identifier: Apache-2.0
//
// The variant table itself and the memory calls.
#include "harness.h"

using namespace cases;

CASE(every_operation_ends_with_its_reference) {
  const int32_t count = esp_variant_count();
  for (int32_t i = 0; i < count; i++) {
    const bool last =
        i + 1 == count || strcmp(esp_variant_operation(i), esp_variant_operation(i + 1)) != 0;
    const bool reference = strcmp(esp_variant_name(i), "reference") == 0;
    expect(last == reference, "row %d %s %s: the last row of an operation is its reference", i,
           esp_variant_operation(i), esp_variant_name(i));
    expect(!reference || esp_variant_runs(i) == 1, "%s reference does not run",
           esp_variant_operation(i));
  }
  expect(esp_variant_name(count) == nullptr, "a name past the table");
}

CASE(a_pin_to_an_unknown_row_is_refused) {
  expect_status(ESP_INVALID_ARGUMENT, esp_variant_pin(context(), "no_such_operation", "avx2"),
                "variant_pin");
}

CASE(allocated_memory_is_zero_and_aligned) {
  for (int64_t bytes : {0, 1, 64, 65, 4097, (1 << 20) - 1, 1 << 20, (1 << 20) + 1}) {
    void* p = nullptr;
    expect_status(ESP_OK, esp_memory_allocate(bytes, &p), "memory_allocate");
    expect(reinterpret_cast<uintptr_t>(p) % 64 == 0, "address %p", p);
    for (int64_t i = 0; i < bytes; i++)
      expect(static_cast<uint8_t*>(p)[i] == 0, "byte %lld is not zero", static_cast<long long>(i));
    expect_status(ESP_OK, esp_memory_free(p, bytes), "memory_free");
  }
}

CASE(spilled_memory_is_zero_and_keeps_its_content_when_forgotten) {
  const int64_t bytes = 3 * 65536 + 5;
  void* p = nullptr;
  expect_status(ESP_OK, esp_file_spill("/tmp", bytes, &p), "file_spill");
  uint8_t* at = static_cast<uint8_t*>(p);
  for (int64_t i = 0; i < bytes; i++) {
    expect(at[i] == 0, "byte %lld is not zero", static_cast<long long>(i));
    at[i] = static_cast<uint8_t>(i * 7);
  }
  expect_status(ESP_OK, esp_file_forget(p, bytes), "file_forget");
  for (int64_t i = 0; i < bytes; i++) {
    expect(at[i] == static_cast<uint8_t>(i * 7), "byte %lld is lost", static_cast<long long>(i));
  }
  expect_status(ESP_OK, esp_file_unmap(p, bytes), "file_unmap");
}

CASE(a_spill_without_room_or_folder_is_refused) {
  void* p = nullptr;
  expect_status(ESP_IO, esp_file_spill("/no/such/folder", 64, &p), "file_spill");
  expect_status(ESP_INVALID_ARGUMENT, esp_file_spill("/tmp", 0, &p), "file_spill");
  // More than any disk: refused when it is made, not when a page is touched.
  expect_status(ESP_IO, esp_file_spill("/tmp", int64_t{1} << 50, &p), "file_spill");
  expect(p == nullptr, "an address after a refusal");
}
