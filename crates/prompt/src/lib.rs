//! Templates, chat roles and chat templates of local models. Knows no provider.
