//! What a page asks for is fetched, and what comes is judged.
