// The same work on several threads.

#pragma once

#include <atomic>
#include <cstddef>
#include <exception>
#include <system_error>
#include <thread>
#include <vector>

namespace htr {

// Calls `work` with 0 to count - 1, on so many threads; the first failure stops it and is thrown again.
template <class Work>
void ForEachParallel(std::size_t threads, std::size_t count, const Work& work) {
    std::atomic<std::size_t> next{0};
    std::vector<std::exception_ptr> failures(threads);
    const auto take = [&](std::size_t thread) {
        try {
            for (std::size_t number; (number = next++) < count;) {
                work(number);
            }
        } catch (...) {
            failures[thread] = std::current_exception();
            next = count;
        }
    };
    std::vector<std::thread> others;
    try {
        while (others.size() + 1 < threads) {
            others.emplace_back(take, others.size() + 1);
        }
    } catch (const std::system_error&) {  // the system has no more threads: those that were started do the work
    }
    take(0);
    for (std::thread& other : others) {
        other.join();
    }
    for (const std::exception_ptr& failure : failures) {
        if (failure) {
            std::rethrow_exception(failure);
        }
    }
}

}  // namespace htr
