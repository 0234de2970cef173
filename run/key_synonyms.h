#pragma once
// Keys of other tools, and what they are called here.

#include <span>
#include <string_view>

namespace macadam {

struct KeySynonym {
  std::string_view key;   // in lower case, words joined by '_'
  std::string_view ours;  // a key of a configuration; empty when there is none
  std::string_view why;   // then: what to do instead
};

std::span<const KeySynonym> key_synonyms();

/// The synonym that `key` is, however its words are joined and whatever table it stands in; null
/// when nothing is known.
const KeySynonym* find_synonym(std::string_view key);

}  // namespace macadam
