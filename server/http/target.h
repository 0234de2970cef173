#pragma once
// The target of a request: its path, segment by segment, and its parameters, decoded.

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace macadam {

struct Target {
  /// Decoded: a segment may hold any character but NUL and control characters, a slash too. One
  /// slash at the end of the path is passed over.
  std::vector<std::string> path;
  std::vector<std::pair<std::string, std::string>> query;  // decoded, in order
};

/// Reads "/v1/images/a%20b?limit=3" (RFC 3986). Nothing when it is not well-formed: escapes that
/// are none, text that is not UTF-8, control characters, more than 64 segments or parameters.
std::optional<Target> parse_target(std::string_view target);

}  // namespace macadam
