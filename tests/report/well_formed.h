#pragma once
// A small judge of XML: enough to notice a missing quote, an unclosed element or a bare '&'.

#include <string>
#include <string_view>

namespace macadam::testing {

/// Empty when `document` is well-formed (one root element, matching tags, quoted and unique
/// attributes, known entities, valid UTF-8, no forbidden characters), else what is wrong and where.
/// A leading <!DOCTYPE ...> is allowed. Comments, CDATA and processing instructions are not.
std::string xml_fault(std::string_view document);

}  // namespace macadam::testing
