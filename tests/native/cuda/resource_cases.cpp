// SPDX-License-Identifier: Apache-2.0
//
// What ptxas says of every kernel, beside its budget; and that PTX stands in one file.
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include <algorithm>

#include "on_device.h"

namespace cases {
namespace {

struct budget {
  const char* kernel;
  int threads, registers;
};
const budget budgets[] = {
#define ESP_BUDGET(kernel, threads, registers) {#kernel, threads, registers},
#include "cuda/budgets.inc"
#undef ESP_BUDGET
};

std::vector<std::string> files_of(const std::string& folder, const std::string& ending) {
  std::vector<std::string> found;
  DIR* const open = opendir(folder.c_str());
  while (const dirent* entry = open == nullptr ? nullptr : readdir(open)) {
    const std::string name = entry->d_name, path = folder + "/" + name;
    if (name[0] == '.') continue;
    if (entry->d_type == DT_DIR) {
      for (const std::string& inner : files_of(path, ending)) found.push_back(inner);
    } else if (name.size() > ending.size() &&
               name.compare(name.size() - ending.size(), ending.size(), ending) == 0) {
      found.push_back(path);
    }
  }
  if (open != nullptr) closedir(open);
  std::sort(found.begin(), found.end());
  return found;
}

std::vector<std::string> lines_of(const std::string& path) {
  std::vector<std::string> lines;
  FILE* const file = fopen(path.c_str(), "r");
  char line[4096];
  while (file != nullptr && fgets(line, sizeof line, file) != nullptr) lines.push_back(line);
  if (file != nullptr) fclose(file);
  return lines;
}

// A mangled name holds every identifier with its length before it.
bool names(const std::string& mangled, const std::string& kernel) {
  return mangled.find(std::to_string(kernel.size()) + kernel) != std::string::npos;
}

int number_after(const std::string& line, const char* word) {
  const size_t at = line.find(word);
  return at == std::string::npos ? -1 : atoi(line.c_str() + at + strlen(word));
}

int number_before(const std::string& line, const char* word) {
  size_t at = line.find(word);
  if (at == std::string::npos) return -1;
  while (at > 0 && line[at - 1] == ' ') at--;
  while (at > 0 && line[at - 1] >= '0' && line[at - 1] <= '9') at--;
  return atoi(line.c_str() + at);
}

}  // namespace

CASE(cuda_resources) {
  const std::vector<std::string> reports = files_of(ESPALIER_CUDA_RESOURCES, ".resources");
  if (reports.empty()) {
    skip("cuda_resources (no CUDA toolkit when this was built)");
    return;
  }
  std::vector<int> seen(std::size(budgets), 0);
  for (const std::string& report : reports) {
    std::string kernel;
    for (const std::string& line : lines_of(report)) {
      const size_t quote = line.find("Compiling entry function '");
      if (quote != std::string::npos) kernel = line.substr(quote + 26);
      const char* const at = kernel.c_str();
      // A product of a warpgroup that ptxas had to serialize, a setmaxnreg that it ignored.
      expect(line.find("serializ") == std::string::npos &&
                 line.find("setmaxnreg") == std::string::npos,
             "%s: %s", at, line.c_str());
      expect(number_before(line, "bytes spill stores") <= 0 &&
                 number_before(line, "bytes spill loads") <= 0,
             "%s: %s", at, line.c_str());
      if (line.find(" registers") == std::string::npos) continue;
      const int registers = number_after(line, "Used ");
      if (kernel.find("_probe") != std::string::npos) continue;  // tests only
      size_t i = 0;
      while (i < std::size(budgets) && !names(kernel, budgets[i].kernel)) i++;
      expect(i < std::size(budgets), "no budget: %s", at);
      if (i == std::size(budgets)) continue;
      seen[i]++;
      expect(registers <= budgets[i].registers, "%d registers, the budget is %d: %s", registers,
             budgets[i].registers, at);
      expect(budgets[i].threads * ((registers + 7) / 8 * 8) <= 65536, "does not fit: %s", at);
    }
  }
  for (size_t i = 0; i < seen.size(); i++)
    expect(seen[i] >= 2, "%s was compiled %d times, expected for sm_80 and sm_90a",
           budgets[i].kernel, seen[i]);
}

CASE(cuda_ptx_in_one_file) {
  if (files_of(std::string(ESPALIER_ROOT) + "/kernels/cuda", ".cu").empty()) {
    skip("cuda_ptx_in_one_file (no sources at hand)");
    return;
  }
  int read = 0;
  for (const char* folder : {"/kernels/cuda", "/native/cuda"}) {
    for (const char* ending : {".h", ".cu"}) {
      for (const std::string& path : files_of(std::string(ESPALIER_ROOT) + folder, ending)) {
        if (path.size() > 6 && path.compare(path.size() - 6, 6, "/ptx.h") == 0) continue;
        read++;
        for (const std::string& line : lines_of(path)) {
          const std::string code = line.substr(0, line.find("//"));
          expect(code.find("asm") == std::string::npos &&
                     (code.find("__shared__ ") == std::string::npos ||
                      code.find("extern __shared__ ") != std::string::npos),
                 "%s: %s", path.c_str(), line.c_str());
        }
      }
    }
  }
  expect(read >= 10, "%d files of kernels", read);
}

}  // namespace cases
