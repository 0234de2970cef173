#pragma once
// Configurations as text, and what is said of those that are wrong.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "run/config.h"

namespace macadam::testing {

inline constexpr const char* kFile = "/data/runs/first.toml";
inline const std::string kMinimal = "network = \"unet_mini\"\ndataset = \"../streets\"\n";

inline Config parse(const std::string& toml, const std::vector<std::string>& overrides = {}) {
  return parse_config(toml, kFile, overrides);
}

/// The message of the InputError that the configuration causes.
inline std::string complaint(const std::string& toml,
                             const std::vector<std::string>& overrides = {}) {
  try {
    parse(toml, overrides);
  } catch (const InputError& error) {
    const std::string message = error.what();
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    return message;
  }
  return "accepted";
}

/// Expects a complaint about `minimal` and the given lines that holds all the parts.
inline void expect_complaint(const std::string& lines, const std::vector<std::string>& parts) {
  const std::string message = complaint(kMinimal + lines);
  for (const std::string& part : parts) {
    EXPECT_NE(message.find(part), std::string::npos) << lines << " -> " << message;
  }
}

}  // namespace macadam::testing
