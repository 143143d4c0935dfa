// SPDX-License-Identifier: Apache-2.0
//
// As much of JSON as the tables of golden/ptx need: objects, arrays, integers, strings, null.
#ifndef ESPALIER_CUDA_CASES_JSON_H
#define ESPALIER_CUDA_CASES_JSON_H

#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <map>
#include <string>
#include <vector>

namespace cases {

struct json {
  enum { nothing, number, text, array, object } kind = nothing;
  int64_t integer = 0;
  std::string string;
  std::vector<json> items;
  std::map<std::string, json> fields;

  const json& operator[](size_t i) const { return items.at(i); }
  const json& operator[](const std::string& name) const {
    static const json missing;
    const auto found = fields.find(name);
    return found == fields.end() ? missing : found->second;
  }

  static json parse(const char*& p) {
    json v;
    skip(p);
    if (*p == '{') {
      v.kind = object;
      for (p++; skip(p), *p != '}';) {
        const std::string name = quoted(p);
        skip(p);
        p++;  // the colon
        v.fields[name] = parse(p);
        skip(p);
        if (*p == ',') p++;
      }
      p++;
    } else if (*p == '[') {
      v.kind = array;
      for (p++; skip(p), *p != ']';) {
        v.items.push_back(parse(p));
        skip(p);
        if (*p == ',') p++;
      }
      p++;
    } else if (*p == '"') {
      v.kind = text;
      v.string = quoted(p);
    } else if (*p == '-' || isdigit(*p)) {
      char* end;
      v.kind = number;
      v.integer = strtoll(p, &end, 10);
      p = end;
    } else {
      while (isalpha(*p)) p++;
    }
    return v;
  }

 private:
  static void skip(const char*& p) {
    while (isspace(*p)) p++;
  }
  static std::string quoted(const char*& p) {
    std::string s;
    for (p++; *p != '"' && *p != 0; p++) {
      if (*p == '\\') p++;
      s += *p;
    }
    p++;
    return s;
  }
};

// golden/ptx/<name>.json of ESPALIER_SHARED; kind `nothing` when it is not at hand.
inline json golden_table(const std::string& name) {
  const char* const shared = getenv("ESPALIER_SHARED");
  const std::string path =
      std::string(shared == nullptr ? "../shared" : shared) + "/golden/ptx/" + name + ".json";
  FILE* const file = fopen(path.c_str(), "r");
  if (file == nullptr) return json();
  std::string content;
  char piece[65536];
  for (size_t n; (n = fread(piece, 1, sizeof piece, file)) > 0;) content.append(piece, n);
  fclose(file);
  const char* p = content.c_str();
  return json::parse(p);
}

}  // namespace cases

#endif  // ESPALIER_CUDA_CASES_JSON_H
