// segment ADDRESS PHOTO MASK.png: the mask of a photo, from a server of `macadam serve`.
//
//   g++ -std=c++17 -o segment examples/segment.cpp && ./segment localhost:8080 street.png mask.png

#include <fstream>
#include <iostream>
#include <iterator>

#include "macadam_client.h"

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: segment HOST:PORT|SOCKET PHOTO MASK.png\n";
    return 2;
  }
  std::ifstream file(argv[2], std::ios::binary);
  if (!file) {
    std::cerr << "cannot read " << argv[2] << "\n";
    return 2;
  }
  const std::string photo{std::istreambuf_iterator<char>(file), {}};
  try {
    macadam_client::Connection server(argv[1]);
    const auto answer = server.segment(photo);
    if (answer.status != 200) {
      std::cerr << answer.status << ": " << answer.body << "\n";
      return 1;
    }
    std::ofstream(argv[3], std::ios::binary) << answer.body;
    return 0;
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
