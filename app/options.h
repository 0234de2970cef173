#pragma once
// Option texts that several subcommands share.

#include <initializer_list>
#include <string_view>
#include <utility>

namespace CLI {
class App;
}

namespace macadam {

/// "512x256" as {width, height}; throws InputError naming `option`.
std::pair<int, int> parse_size(std::string_view text, std::string_view option);

/// Throws InputError for the first of the options `names` that was given to `command`: on `subject`
/// it would change nothing, and better an error than an option without effect.
void refuse_options(const CLI::App& command, std::initializer_list<const char*> names,
                    std::string_view subject);

}  // namespace macadam
