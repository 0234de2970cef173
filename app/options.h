#pragma once
// Option texts that several subcommands share.

#include <string_view>
#include <utility>

namespace macadam {

/// "512x256" as {width, height}; throws InputError naming `option`.
std::pair<int, int> parse_size(std::string_view text, std::string_view option);

}  // namespace macadam
